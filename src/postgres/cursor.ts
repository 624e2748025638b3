import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import { type Head, placeIn } from "./head.js";
import type { Place } from "./place.js";
import type { Entry, Tail } from "./tail.js";

/** What the database holds after a place, as much as one read brings. */
export interface Page {
  readonly head: Head | undefined;
  readonly entries: readonly Entry[];
}

/** The newest place of a channel, and its row as it was then; no row where the channel did not exist. */
export interface Newest {
  readonly place: Place;
  readonly head: Head | undefined;
}

/** Where cursors get their tails, and pages of what is behind them. */
export interface Tails {
  readonly maxAge: number;
  /** The tail of a channel, which is read from then on until it is left as often as it was joined. */
  join(channel: string, newest: Newest): Tail;
  leave(tail: Tail): void;
  /** Resolves when the tail has been read again. */
  refresh(tail: Tail): Promise<void>;
  /** As long as the database is away, it waits. */
  page(tail: Tail, run: string, n: number): Promise<Page>;
}

/** One subscription's place in one channel: in the tail that this process shares, or behind it, in pages from the database. */
export class ChannelCursor implements Cursor<Entry> {
  readonly channel: string;
  readonly #tails: Tails;
  readonly #newest: Newest;
  #state: "open" | "loading" | "over";
  #tail: Tail | undefined;
  #place: Place;
  /** Whether the subscriber has been told that events are missing right after this place. */
  #isToldOfGap = false;
  /** How many of the tail's losses this place has been held against. */
  #losses = 0;
  /** Whether the tail has been read since this place was found to be of another run. */
  #isConfirmed = false;
  #page: readonly Entry[] = [];
  #taken = 0;
  /** Up to where a page has shown that nothing is held any more. */
  #trimmedUpTo = 0;
  #error: unknown;
  #waiter: Waiter | undefined;

  /**
   * @param newest where the channel's tail is to be read on
   * @param isOver whether the channel has ended and nothing is left in it
   */
  constructor(tails: Tails, channel: string, place: Place, newest: Newest, isOver: boolean) {
    this.#tails = tails;
    this.channel = channel;
    this.#place = place;
    this.#newest = newest;
    this.#state = isOver ? "over" : "open";
  }

  get place(): Place {
    // A channel that does not exist is known not to up to now.
    const known = this.#tail?.place;
    return "asOf" in this.#place && known !== undefined && "asOf" in known ? known : this.#place;
  }

  peek(): Entry | "gap" | "loading" | "end" | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (this.#state !== "open") return this.#state === "over" ? "end" : "loading";
    const tail = (this.#tail ??= this.#join());
    if (tail.losses.length > this.#losses) {
      const lostAfter = Math.min(...tail.losses.slice(this.#losses));
      this.#losses = tail.losses.length;
      // What was read before may be what was lost.
      this.#page = [];
      this.#trimmedUpTo = 0;
      if (!("run" in this.#place) || this.#place.n > lostAfter) return this.#lose(tail, lostAfter);
    }
    if ("asOf" in this.#place) {
      if ("asOf" in tail.place) return this.#age(tail.place.asOf - this.#place.asOf);
    } else if ("run" in tail.place && this.#place.run === tail.place.run) return this.#next(tail, this.#place);
    return this.#doubt(tail);
  }

  #join(): Tail {
    const tail = this.#tails.join(this.channel, this.#newest);
    this.#losses = tail.losses.length;
    return tail;
  }

  /** The server has lost what came after `lostAfter`, or (-1) the whole channel. */
  #lose(tail: Tail, lostAfter: number): "gap" {
    this.#page = [];
    this.#trimmedUpTo = 0;
    this.#place = "run" in tail.place ? { run: tail.place.run, n: Math.max(lostAfter, 0) } : tail.place;
    this.#isToldOfGap = true;
    return "gap";
  }

  /** In a channel that does not exist. Longer ago than a channel lives, one may have come and gone. */
  #age(age: number): "gap" | undefined {
    if (age >= this.#tails.maxAge) return this.#lose(this.#tail as Tail, -1);
    this.#place = (this.#tail as Tail).place;
    return undefined;
  }

  /** The tail is in another run: either this place is of one that is over, or the tail has still to hear of the new one. */
  #doubt(tail: Tail): ReturnType<ChannelCursor["peek"]> {
    const n = tail.head === undefined ? undefined : placeIn(tail.head, this.#place, this.#tails.maxAge);
    if (tail.head !== undefined && n !== undefined) {
      this.#place = { run: tail.head.run, n };
      return this.peek();
    }
    if (this.#isConfirmed) {
      this.#isConfirmed = false;
      return this.#lose(tail, -1);
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
      if (entry.n === n + 1 || this.#isToldOfGap) return entry;
      return this.#skip(run, entry.n - 1);
    }
    if (n < tail.floor) return this.#load(this.#tails.page(tail, run, n).then((page) => this.#turn(tail, page)));
    if (tail.error !== undefined) throw tail.error;
    if (!tail.isEnded || n < tail.last) return undefined;
    this.#state = "over";
    return "end";
  }

  #skip(run: string, n: number): "gap" {
    this.#place = { run, n };
    this.#isToldOfGap = true;
    return "gap";
  }

  /** A page has come. */
  #turn(tail: Tail, { head, entries }: Page): Promise<void> | undefined {
    const { run, n } = this.#place as { run: string; n: number };
    if (head === undefined || head.run !== run || (entries.length === 0 && head.last <= n))
      return this.#tails.refresh(tail);
    // It may hold what was lost in the meantime.
    if (tail.losses.length !== this.#losses) return undefined;
    this.#page = entries;
    this.#taken = 0;
    if (entries.length === 0) this.#trimmedUpTo = head.last;
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
    this.#isToldOfGap = false;
    if (this.#taken < this.#page.length) this.#taken++;
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
