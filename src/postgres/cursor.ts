import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import { type ChannelStatus, placeIn } from "./channel-status.js";
import type { Place } from "./place.js";
import type { Entry } from "./entry.js";
import type { Tail } from "./tail.js";

/** The events after a place, as many as one read brings. */
export interface Page {
  readonly status: ChannelStatus | undefined;
  readonly entries: readonly Entry[];
}

/** The newest place of a channel, and what its row said then. */
export interface Newest {
  readonly place: Place;
  readonly status: ChannelStatus | undefined;
}

/** Gives cursors the tails of their channels, and pages of the events before a tail. */
export interface Tails {
  readonly maxAge: number;
  /** The tail of a channel. It is kept up to date until `leave` has been called as often as `join`. */
  join(channel: string, newest: Newest): Tail;
  leave(tail: Tail): void;
  /** Resolves when the tail has been read once more. */
  refresh(tail: Tail): Promise<void>;
  /** Reads the events after event `n` of a run. Tries again while the database is away. */
  page(tail: Tail, run: string, n: number): Promise<Page>;
}

/**
 * One subscription's place in one channel. It takes events from the tail that all subscriptions of this process share,
 * or, if it is behind the tail, from pages that it reads from the database.
 */
export class ChannelCursor implements Cursor<Entry> {
  readonly channel: string;
  readonly #tails: Tails;
  readonly #newest: Newest;
  #state: "open" | "loading" | "over";
  #tail: Tail | undefined;
  #place: Place;
  /** Whether the subscriber knows that events are missing right after this place. */
  #isGapReported = false;
  /** How many of the tail's losses this place takes into account. */
  #losses = 0;
  /** Whether the tail has been read since this place turned out to be of another run. */
  #isConfirmed = false;
  #page: readonly Entry[] = [];
  /** How many entries of the page have been taken. */
  #taken = 0;
  /** An empty page has shown that the events up to this number are gone. */
  #trimmedUpTo = 0;
  #error: unknown;
  #waiter: Waiter | undefined;

  /**
   * @param newest where a new tail of the channel begins
   * @param isOver whether the channel has ended, and nothing is left in it after the place
   */
  constructor(tails: Tails, channel: string, place: Place, newest: Newest, isOver: boolean) {
    this.#tails = tails;
    this.channel = channel;
    this.#place = place;
    this.#newest = newest;
    this.#state = isOver ? "over" : "open";
  }

  get place(): Place {
    return this.#place;
  }

  peek(): Entry | "gap" | "loading" | "end" | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (this.#state !== "open") return this.#state === "over" ? "end" : "loading";
    const tail = (this.#tail ??= this.#join());
    if (tail.losses.length > this.#losses) {
      const lostAfter = this.#lostAfter(tail);
      this.#losses = tail.losses.length;
      // The page may hold events that were lost.
      this.#page = [];
      this.#trimmedUpTo = 0;
      if (lostAfter < ("run" in this.#place ? this.#place.n : Infinity)) return this.#skipLost(tail, lostAfter);
    }
    if ("asOf" in this.#place) {
      if ("asOf" in tail.place) return this.#stayAbsent(tail, tail.place.asOf - this.#place.asOf);
    } else if ("run" in tail.place && this.#place.run === tail.place.run) return this.#next(tail, this.#place);
    return this.#changeRun(tail);
  }

  /** The number of the last event that the losses since the last look have left of this place's run. */
  #lostAfter({ losses, status }: Tail): number {
    const run = "run" in this.#place ? this.#place.run : undefined;
    // A place in the newest run was taken after the losses that led to it.
    const isNewest = run !== undefined && run === status?.run;
    const after = losses.slice(this.#losses).filter((loss) => !isNewest || loss.within === run);
    return Math.min(...after.map(({ left }) => left));
  }

  #join(): Tail {
    const tail = this.#tails.join(this.channel, this.#newest);
    this.#losses = tail.losses.length;
    return tail;
  }

  /** Reports a gap: the server has lost the events after `lostAfter`, or (-1) the whole channel. */
  #skipLost(tail: Tail, lostAfter: number): "gap" {
    this.#page = [];
    this.#trimmedUpTo = 0;
    this.#place = "run" in tail.place ? { run: tail.place.run, n: Math.max(lostAfter, 0) } : tail.place;
    this.#isGapReported = true;
    return "gap";
  }

  /**
   * The channel still does not exist. If this place is older than the tail's by `maxAge`, a channel may have been made
   * and forgotten in between. From then on they have the place in common, which the checks keep up to date.
   */
  #stayAbsent(tail: Tail, age: number): "gap" | undefined {
    if (age >= this.#tails.maxAge) return this.#skipLost(tail, -1);
    this.#place = tail.place;
    return undefined;
  }

  /**
   * The tail is in another run than this place. Either the place's run is over, or it is a new run that the tail has
   * not read yet. Only another read of the tail can tell, so a gap is reported after that.
   */
  #changeRun(tail: Tail): ReturnType<ChannelCursor["peek"]> {
    const n = tail.status === undefined ? undefined : placeIn(tail.status, this.#place, this.#tails.maxAge);
    if (tail.status !== undefined && n !== undefined) {
      this.#place = { run: tail.status.run, n };
      return this.peek();
    }
    if (this.#isConfirmed) {
      this.#isConfirmed = false;
      return this.#skipLost(tail, -1);
    }
    return this.#load(
      this.#tails.refresh(tail).then(() => {
        this.#isConfirmed = true;
      }),
    );
  }

  #next(tail: Tail, { run, n }: { run: string; n: number }): ReturnType<ChannelCursor["peek"]> {
    if (this.#trimmedUpTo > n) return this.#skip(run, this.#trimmedUpTo);
    const entry = this.#page[this.#taken] ?? (n >= tail.floor ? tail.at(n + 1) : undefined);
    if (entry !== undefined) {
      if (entry.n === n + 1 || this.#isGapReported) return entry;
      return this.#skip(run, entry.n - 1);
    }
    if (n < tail.floor) return this.#load(this.#tails.page(tail, run, n).then((page) => this.#onPage(tail, page)));
    if (tail.error !== undefined) throw tail.error;
    if (!tail.isEnded || n < tail.last) return undefined;
    this.#state = "over";
    return "end";
  }

  #skip(run: string, n: number): "gap" {
    this.#place = { run, n };
    this.#isGapReported = true;
    return "gap";
  }

  #onPage(tail: Tail, { status, entries }: Page): Promise<void> | undefined {
    const { run, n } = this.#place as { run: string; n: number };
    // The channel is gone. Nobody can tell what came before the tail.
    if (status === undefined) {
      this.#trimmedUpTo = tail.floor;
      return undefined;
    }
    if (status.run !== run || (entries.length === 0 && status.last <= n)) return this.#tails.refresh(tail);
    // The page may hold events that have been lost in the meantime.
    if (tail.losses.length !== this.#losses) return undefined;
    this.#page = entries;
    this.#taken = 0;
    if (entries.length === 0) this.#trimmedUpTo = status.last;
    return undefined;
  }

  #load(work: Promise<unknown>): "loading" {
    this.#state = "loading";
    const settle = (): void => {
      if (this.#state === "loading") this.#state = "open";
      this.#waiter?.wake();
    };
    work.then(settle, (error: unknown) => {
      this.#error = error;
      settle();
    });
    return "loading";
  }

  take({ n }: Entry): void {
    const { run } = this.#place as { run: string };
    this.#place = { run, n };
    this.#isGapReported = false;
    // A page that has been read to its end would weigh as much as the subscription lives.
    if (this.#taken < this.#page.length && ++this.#taken === this.#page.length) this.#page = [];
  }

  wait(waiter: Waiter): void {
    this.#waiter = waiter;
    this.#tail?.wait(waiter);
  }

  release(waiter: Waiter): void {
    this.#state = "over";
    this.#waiter = undefined;
    if (this.#tail === undefined) return;
    this.#tail.stopWaiting(waiter);
    this.#tails.leave(this.#tail);
  }
}
