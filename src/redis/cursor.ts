import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import type { ChannelTag } from "./channel-tag.js";
import { compareIds, type Entry, type EventEntry, type Position, timeOf } from "./entry.js";
import type { Loss, Tail } from "./tail.js";

/** Where a subscription begins in one of its channels. */
export interface Place {
  readonly key: string;
  readonly position: Position;
  /** Whether the channel has ended and nothing is left in it. */
  readonly isOver: boolean;
  /** After the newest entry of the channel, as far as is known. */
  readonly last: Position;
  /** `performance.now()` when that was known. */
  readonly at: number;
}

/** Where cursors get their tails. */
export interface Tails {
  acquire(place: Place): Tail;
  release(tail: Tail): void;
  /** Whether an entry whose predecessor is `after` is the next one after a position. */
  follows(after: string, position: Position, id: string): boolean;
  /** Whether so much time has passed that a channel may have begun anew. */
  isStale(place: Place): boolean;
}

/** One subscription's place in one channel: in the tail that this process shares, or behind it, in pages from Redis. */
export class TailCursor implements Cursor<EventEntry> {
  readonly #tails: Tails;
  readonly #place: Place;
  /** Only a composite id needs it. */
  readonly tag: ChannelTag | undefined;
  /** After what was last taken. */
  #position: string;
  #confirmed: number;
  #held: Tail | undefined;
  #waiter: Waiter | undefined;
  #state: "reading" | "loading" | "ended";
  /** How many of the tail's losses it has looked at. */
  #losses = 0;
  /** Where the next entry is in the tail, if it is. */
  #index: number | undefined;
  #page: readonly Entry[] = [];
  #taken = 0;
  /** Whether events were found to be missing that no entry will tell of. */
  #isMissing = false;
  #error: unknown;

  constructor(tails: Tails, place: Place, tag: ChannelTag | undefined) {
    this.#tails = tails;
    this.#place = place;
    this.tag = tag;
    this.#position = place.position.id;
    this.#confirmed = place.position.confirmed;
    this.#state = place.isOver ? "ended" : "reading";
  }

  /** Its place in the channel when the event of `id` is delivered. */
  positionAt(id: string): Position {
    const tail = this.#held;
    // Nothing is missed in a channel that has ended.
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
      const tail = this.#tails.acquire(this.#place);
      this.#held = tail;
      this.#losses = tail.losses.length;
      tail.subscriptions++;
      if (this.#tails.isStale(this.#place) && tail.last !== this.#position && !tail.has(this.#position))
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
    // Where its predecessor is not after this place, nothing is between them.
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
      // A page is let go of when it has been read.
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
    // The tail may still be behind what was read from Redis, or what was the newest when the subscription began.
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
        // It tells what was there before a loss.
        if (losses !== tail.losses.length) return this.#waiter?.wake();
        const [first] = entries;
        if (first === undefined) {
          // What was between here and the tail has aged out.
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

  /** Goes on where the others do, if it had read what is lost. */
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
