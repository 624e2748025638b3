import type { Cursor } from "../broker/subscription.js";
import type { Waiter } from "../source/feed.js";
import type { Position } from "./composite-id.js";
import { compareIds, type Entry, type EventEntry } from "./entry.js";
import type { Tail } from "./tail.js";

/** Where a subscription begins in one of its channels. */
export interface Place {
  readonly key: string;
  readonly position: Position;
  /** Whether the channel has ended and nothing is left in it. */
  readonly isOver: boolean;
  /** The newest position of the channel, and when (by `performance.now()`) it was that for certain. */
  readonly last: string;
  readonly at: number;
}

/** Where cursors get their tails. */
export interface Tails {
  acquire(place: Place): Tail;
  release(tail: Tail): void;
}

/** One subscription's place in one channel: in the tail that this process shares, or behind it, in pages from Redis. */
export class TailCursor implements Cursor<EventEntry> {
  readonly #tails: Tails;
  readonly #place: Place;
  readonly key: string;
  /** After what was last taken. */
  position: Position;
  #held: Tail | undefined;
  #waiter: Waiter | undefined;
  #hasEnded: boolean;
  #losses = 0;
  /** Where the next entry is in the tail, if it is. */
  #index: number | undefined;
  #page: readonly Entry[] = [];
  #taken = 0;
  #isLoading = false;
  /** Whether events were found to be missing that no entry will tell of. */
  #isBehind = false;
  #error: unknown;

  constructor(tails: Tails, place: Place) {
    this.#tails = tails;
    this.#place = place;
    this.key = place.key;
    this.position = place.position;
    this.#hasEnded = place.isOver;
  }

  get #tail(): Tail {
    if (this.#held === undefined) {
      this.#held = this.#tails.acquire(this.#place);
      this.#losses = this.#held.losses;
      this.#held.subscriptions++;
    }
    return this.#held;
  }

  peek(): EventEntry | "gap" | "loading" | "end" | undefined {
    if (this.#hasEnded) return "end";
    if (this.#error !== undefined) throw this.#error;
    const tail = this.#tail;
    if (this.#losses !== tail.losses) return this.#restart();
    const entry = this.#next();
    if (this.#isBehind) {
      this.#isBehind = false;
      return "gap";
    }
    if (entry === undefined) return this.#isLoading ? "loading" : undefined;
    // Where its predecessor is not after this place, nothing is between them.
    if (compareIds(entry.after, this.position) > 0) {
      this.position = entry.after;
      return "gap";
    }
    if (isEvent(entry)) return entry;
    this.#hasEnded = true;
    this.position = entry.id;
    this.#free();
    return "end";
  }

  /** Takes the entry that `peek` showed. */
  take(entry: Entry): void {
    this.position = entry.id;
    if (this.#taken < this.#page.length) this.#taken++;
    else if (this.#index !== undefined) this.#index++;
  }

  #next(): Entry | undefined {
    const held = this.#page[this.#taken];
    if (held !== undefined) return held;
    const tail = this.#tail;
    if (this.#index === undefined || this.#index < tail.base) this.#index = tail.seek(this.position);
    if (this.#index === undefined) {
      this.#load();
      return undefined;
    }
    // The reader may still be behind what was read from Redis, or what was the newest when the subscription began.
    let entry = tail.at(this.#index);
    while (entry !== undefined && compareIds(entry.id, this.position) <= 0) entry = tail.at(++this.#index);
    if (entry === undefined && tail.error !== undefined) throw tail.error;
    return entry;
  }

  #load(): void {
    if (this.#isLoading) return;
    this.#isLoading = true;
    const tail = this.#tail;
    tail.page(this.position).then(
      (page) => {
        this.#isLoading = false;
        this.#page = page;
        this.#taken = 0;
        // What was between here and the tail has aged out.
        if (page.length === 0) {
          this.#isBehind = !tail.adjoins(this.position);
          this.position = tail.floor;
        }
        this.#waiter?.wake();
      },
      (error: unknown) => {
        this.#isLoading = false;
        this.#error = error;
        this.#waiter?.wake();
      },
    );
  }

  #restart(): "gap" {
    this.#losses = this.#tail.losses;
    this.#index = undefined;
    this.#page = [];
    this.#taken = 0;
    this.position = this.#tail.floor;
    return "gap";
  }

  wait(waiter: Waiter): void {
    this.#waiter = waiter;
    this.#held?.wait(waiter);
  }

  release(): void {
    this.#hasEnded = true;
    this.#free();
  }

  #free(): void {
    const tail = this.#held;
    if (tail === undefined) return;
    this.#held = undefined;
    if (this.#waiter !== undefined) tail.stopWaiting(this.#waiter);
    this.#waiter = undefined;
    tail.subscriptions--;
    this.#tails.release(tail);
  }
}

function isEvent(entry: Entry): entry is EventEntry {
  return entry.event !== undefined;
}
