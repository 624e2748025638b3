import type { EventStreamError } from "../errors.js";
import { backOff } from "./backoff.js";
import { compareIds, type Entry, isBefore, timeOf } from "./entry.js";
import type { Waiter } from "../source/feed.js";
import type { Store } from "./store.js";

/**
 * The newest part of a channel, as the reader has read it, once for all the subscriptions of this
 * process: a log of at most `maxEvents`. A cursor that has fallen behind it reads pages from Redis.
 *
 * It is there as long as a subscription is.
 */
export class Tail {
  readonly key: string;
  /** The position before the first entry of the log. */
  floor: string;
  /** The position after its last: where the reader goes on. */
  last: string;
  /**
   * `performance.now()` at a moment when `last` was the newest of the channel for certain, with the same
   * connection reading since. Before it, an entry that is the first of a new stream says nothing.
   */
  confirmed: number;
  /** How often Redis was found to have lost entries that had been read. */
  losses = 0;
  /** How many entries have left the log: what is at `index` in all is at `index - base` in it. */
  base = 0;
  subscriptions = 0;
  /** What made the channel unreadable. */
  error: Error | undefined;
  readonly #store: Store;
  #entries: Entry[] = [];
  #waiting = new Set<Waiter>();
  readonly #pages = new Map<string, Promise<readonly Entry[]>>();

  constructor(store: Store, key: string, last: string, confirmed: number) {
    this.#store = store;
    this.key = key;
    this.floor = last;
    this.last = last;
    this.confirmed = confirmed;
  }

  append(entry: Entry): void {
    // Where the key had aged out in the meantime, who was there knows that nothing is missing.
    const isWitness = performance.now() - this.confirmed < this.#store.timeToLive;
    this.#entries.push(this.#store.follow(entry, this.last, isWitness));
    this.last = entry.id;
    this.#trim(timeOf(entry.id));
  }

  #trim(now: number): void {
    const { maxEvents, maxAge } = this.#store.history;
    let gone = Math.max(0, this.#entries.length - maxEvents - 1);
    while (timeOf((this.#entries[gone] as Entry).id) < now - maxAge) gone++;
    if (gone === 0) return;
    this.floor = (this.#entries[gone - 1] as Entry).id;
    this.base += gone;
    this.#entries.splice(0, gone);
  }

  /** Redis came back with less than had been read, as a replica does that lagged: goes on from there. */
  rewind(last: string): void {
    this.losses++;
    this.base += this.#entries.length;
    this.#entries = [];
    this.floor = last;
    this.last = last;
    this.wake();
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.base];
  }

  /** The index of the first entry after a position, or `undefined` where that is not in the log. */
  seek(position: string): number | undefined {
    if (compareIds(position, this.floor) < 0) return undefined;
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareIds((this.#entries[middle] as Entry).id, position) > 0) high = middle;
      else low = middle + 1;
    }
    return this.base + low;
  }

  /** Whether nothing can have come between an older position and the log: the channel held nothing, here and there. */
  adjoins(position: string): boolean {
    return isBefore(this.floor) && this.#store.isFresh(position, timeOf(this.floor));
  }

  /** Whether the position is that of an entry in the log. */
  has(position: string): boolean {
    const index = this.seek(position);
    return index !== undefined && (index === this.base ? this.floor : this.at(index - 1)?.id) === position;
  }

  /** A page of what Redis holds after a position, read once for all who are there and ask for it. */
  page(position: string): Promise<readonly Entry[]> {
    let page = this.#pages.get(position);
    if (page === undefined) {
      page = this.#fetch(position).finally(() => this.#pages.delete(position));
      this.#pages.set(position, page);
    }
    return page;
  }

  /** As long as Redis is away, those who are there wait. */
  async #fetch(position: string): Promise<readonly Entry[]> {
    for (let failures = 0; ; failures++) {
      try {
        return await this.#store.page(this.key, position);
      } catch (error) {
        if ((error as EventStreamError).code !== "ERR_BROKER_UNAVAILABLE" || this.subscriptions === 0) throw error;
        await backOff(failures);
      }
    }
  }

  /** Wakes `waiter` once, when there is something new. */
  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  stopWaiting(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const waiter of waiting) waiter.wake();
  }

  fail(error: Error): void {
    this.error = error;
    this.wake();
  }
}
