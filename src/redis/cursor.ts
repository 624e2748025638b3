import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import type { ChannelTag } from "./channel-tag.js";
import { compareIds, type Entry, type EventEntry, type Position, timeOf } from "./entry.js";
import type { Loss, Tail } from "./tail.js";

/** Where a subscription begins in one of its channels. */
export interface CursorStart {
  readonly key: string;
  readonly position: Position;
  /** Whether the channel has ended and nothing is left in it. */
  readonly isOver: boolean;
  /** The position after the channel's newest known entry. */
  readonly last: Position;
  /** `performance.now()` just before `last` was read. */
  readonly at: number;
  /** For how many milliseconds the lease of the channel's producer lasted then, if it had one. */
  readonly lease?: number | undefined;
}

/** Where cursors get their tails. */
export interface Tails {
  acquire(start: CursorStart): Tail;
  release(tail: Tail): void;
  /** Whether the entry `id`, whose predecessor is `after`, is the next one after a position. */
  follows(after: string, position: Position, id: string): boolean;
  /** Whether `last` was read so long ago that the channel may have begun anew since. */
  isStale(start: CursorStart): boolean;
}

/**
 * One subscription's place in one channel. It reads from the shared tail or, if it is behind the tail, pages from
 * Redis.
 */
export class TailCursor implements Cursor<EventEntry> {
  readonly #tails: Tails;
  readonly #start: CursorStart;
  /** Set only if the subscription has several channels: their composite ids need it. */
  readonly tag: ChannelTag | undefined;
  /** The ID of the last entry that was taken or skipped. */
  #position: string;
  #confirmed: number;
  #held: Tail | undefined;
  #waiter: Waiter | undefined;
  #state: "reading" | "loading" | "ended";
  /** How many of the tail's losses it has handled. */
  #losses = 0;
  /** The index of the next entry in the tail, if it is known. */
  #index: number | undefined;
  #page: readonly Entry[] = [];
  #taken = 0;
  /** Whether events are missing that no entry's `after` will reveal. */
  #isMissing = false;
  #error: unknown;

  constructor(tails: Tails, start: CursorStart, tag: ChannelTag | undefined) {
    this.#tails = tails;
    this.#start = start;
    this.tag = tag;
    this.#position = start.position.id;
    this.#confirmed = start.position.confirmed;
    this.#state = start.isOver ? "ended" : "reading";
  }

  /** The cursor's position when the event `id`, perhaps of another channel, is delivered. */
  positionAt(id: string): Position {
    const tail = this.#held;
    // Nothing more can be missed in a channel that has ended.
    const confirmed =
      this.#state === "ended"
        ? Math.max(this.#confirmed, timeOf(id))
        : tail !== undefined && tail.last === this.#position
          ? tail.confirmed
          : this.#confirmed;
    return { id: this.#position, confirmed };
  }

  get #tail(): Tail {
    if (this.#held === undefined) {
      const tail = this.#tails.acquire(this.#start);
      this.#held = tail;
      this.#losses = tail.losses.length;
      tail.subscriptions++;
      if (this.#tails.isStale(this.#start) && tail.last !== this.#position && !tail.has(this.#position))
        this.#isMissing = true;
    }
    return this.#held;
  }

  peek(): EventEntry | "gap" | "loading" | "end" | undefined {
    if (this.#state === "ended") return "end";
    if (this.#error !== undefined) throw this.#error;
    const tail = this.#tail;
    while (this.#losses < tail.losses.length) this.#lose(tail.losses[this.#losses++] as Loss);
    const entry = this.#isMissing ? undefined : this.#next(tail);
    if (this.#isMissing) {
      this.#isMissing = false;
      return "gap";
    }
    if (entry === undefined) return this.#state === "loading" || tail.state === "joining" ? "loading" : undefined;
    // If the entry's predecessor is newer than this position, entries between them are missing.
    if (compareIds(entry.after, this.#position) > 0) {
      this.#move(entry.after);
      return "gap";
    }
    if (isEvent(entry)) return entry;
    this.#move(entry.id);
    this.#end();
    return "end";
  }

  #move(id: string): void {
    this.#position = id;
    this.#confirmed = timeOf(id);
  }

  /** Takes the entry that `peek` showed. */
  take(entry: Entry): void {
    this.#move(entry.id);
    if (this.#taken < this.#page.length) {
      if (++this.#taken === this.#page.length) this.#drop();
    } else if (this.#index !== undefined) this.#index++;
  }

  #drop(): void {
    this.#page = [];
    this.#taken = 0;
  }

  #next(tail: Tail): Entry | undefined {
    const held = this.#page[this.#taken];
    if (held !== undefined) return held;
    if (this.#index === undefined || this.#index < tail.base) this.#index = tail.seek(this.#position);
    if (this.#index === undefined) {
      if (this.#state !== "loading") this.#load(tail);
      return undefined;
    }
    // The tail may be behind this position, which can come from a page or from the start of the subscription.
    let entry = tail.at(this.#index);
    while (entry !== undefined && compareIds(entry.id, this.#position) <= 0) entry = tail.at(++this.#index);
    if (entry === undefined && tail.error !== undefined) throw tail.error;
    return entry;
  }

  #load(tail: Tail): void {
    this.#state = "loading";
    const losses = this.#losses;
    const position: Position = { id: this.#position, confirmed: this.#confirmed };
    tail.page(position.id).then(
      ({ entries }) => {
        if (this.#state !== "loading") return;
        this.#state = "reading";
        // The page was read before a loss: ignore it.
        if (losses !== tail.losses.length) return this.#waiter?.wake();
        const [first] = entries;
        if (first === undefined) {
          // The entries between here and the tail have aged out.
          this.#isMissing = position.id !== tail.floor;
          this.#move(tail.floor);
        } else {
          this.#page = entries;
          this.#taken = 0;
          if (!this.#tails.follows(first.after, position, first.id)) {
            this.#isMissing = true;
            if (compareIds(first.after, position.id) > 0) this.#move(first.after);
          }
        }
        this.#waiter?.wake();
      },
      (error: unknown) => {
        if (this.#state !== "loading") return;
        this.#state = "reading";
        this.#error = error;
        this.#waiter?.wake();
      },
    );
  }

  /** Reports a gap and goes on where the tail does, unless the cursor is before or after everything that was lost. */
  #lose({ kept, last, resume }: Loss): void {
    this.#index = undefined;
    this.#drop();
    const isBehind = kept !== undefined && compareIds(this.#position, kept) <= 0;
    if (isBehind || compareIds(this.#position, last) > 0) return;
    this.#isMissing = true;
    this.#move(resume);
  }

  wait(waiter: Waiter): void {
    this.#waiter = waiter;
    this.#held?.wait(waiter);
  }

  release(): void {
    this.#end();
  }

  #end(): void {
    this.#state = "ended";
    this.#drop();
    const tail = this.#held;
    this.#held = undefined;
    if (tail !== undefined) {
      if (this.#waiter !== undefined) tail.stopWaiting(this.#waiter);
      tail.subscriptions--;
      this.#tails.release(tail);
    }
    this.#waiter = undefined;
  }
}

function isEvent(entry: Entry): entry is EventEntry {
  return entry.event !== undefined;
}
