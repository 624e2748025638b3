import type { Waiter } from "../source/feed.js";
import type { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";
import { before, compareIds, type Entry, isUnbroken, origin, type Position, timeOf } from "./entry.js";
import type { Page, Store } from "./store.js";

/** Entries that had been read are gone, or other entries may have come and gone unseen. */
export interface Loss {
  /** The ID of the newest entry that was not lost; `undefined` if all that had been read were lost. */
  readonly kept: string | undefined;
  /** The ID of the newest entry that had been read. */
  readonly last: string;
  /** The ID after which the affected cursors go on. */
  readonly resume: string;
}

/**
 * The newest part of a channel: a log of at most `maxEvents` + 1 entries, shared by all subscriptions of this process.
 * A cursor that has fallen behind it reads pages from Redis. The tail lives as long as the channel has a subscription
 * here.
 */
export class Tail {
  readonly key: string;
  /** The ID before the first entry of the log. */
  floor: string;
  /** The ID of its last entry. */
  last: string;
  /** When `last` was last known to be the channel's newest entry, in milliseconds of the server's clock. */
  confirmed: number;
  readonly losses: Loss[] = [];
  /** How many entries have left the log. Counting them keeps the cursors' indexes valid. */
  base = 0;
  subscriptions = 0;
  /** "joining" until it has been compared with the stream once. Until then, older events may still arrive. */
  state: "joining" | "following" = "joining";
  /** The error that made the channel unreadable. */
  error: Error | undefined;
  readonly #store: Store;
  /** The log begins at `#first`; the entries before that have left it. */
  #entries: (Entry | undefined)[] = [];
  #first = 0;
  #waiting = new Set<Waiter>();
  readonly #pages = new Map<string, Promise<Page>>();

  constructor(store: Store, key: string, { id, confirmed }: Position) {
    this.#store = store;
    this.key = key;
    this.floor = id;
    this.last = id;
    this.confirmed = confirmed;
  }

  get #size(): number {
    return this.#entries.length - this.#first;
  }

  /** Records that `last` was still the newest entry at `now`. */
  confirm(now: number): void {
    this.confirmed = now;
  }

  /** Records that the tail has caught up with its stream. */
  follow(): void {
    if (this.state === "following") return;
    this.state = "following";
    this.wake();
  }

  /**
   * Appends an entry that is newer than the last one, and ignores any other.
   *
   * @returns false if the entry shows that `last` has been lost: its predecessor is older, or the stream began anew
   * before its key could expire
   */
  accept(entry: Entry): boolean {
    const { last } = this;
    if (entry.after === last && last !== origin) this.#push(entry);
    else if (compareIds(entry.id, last) <= 0) return true;
    else if (entry.after === origin) {
      const time = timeOf(entry.id);
      const { timeToLive } = this.#store;
      const isUnseen = !isUnbroken({ id: last, confirmed: this.confirmed }, time, timeToLive);
      // The key was gone before it could expire.
      if (isUnseen && last !== origin && time < timeOf(last) + timeToLive) return false;
      this.#push({ ...entry, after: isUnseen ? before(time) : last });
    } else if (compareIds(entry.after, last) < 0) return false;
    else this.#push(entry);
    return true;
  }

  #push(entry: Entry): void {
    this.#entries.push(entry);
    this.last = entry.id;
    this.confirmed = timeOf(entry.id);
    const { maxEvents, maxAge } = this.#store.history;
    while (this.#size > maxEvents + 1 || timeOf((this.#entries[this.#first] as Entry).id) < this.confirmed - maxAge)
      this.#drop();
  }

  #drop(): void {
    this.floor = (this.#entries[this.#first] as Entry).id;
    this.#entries[this.#first++] = undefined;
    this.base++;
    // Compacts the array when half of its entries have left, so that each entry is moved about once in its life.
    if (this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The IDs of the log's entries, the newest first, then the floor. */
  ids(): string[] {
    const ids = this.#entries.slice(this.#first).map((entry) => (entry as Entry).id);
    return [...ids.reverse(), this.floor];
  }

  /** Drops the entries that were lost, and goes on after the newest one that is left. */
  rewind({ kept, resume }: { kept: string | undefined; resume: string }, now: number): void {
    this.losses.push({ kept, last: this.last, resume });
    if (kept === undefined) {
      this.base += this.#size;
      this.#entries = [];
      this.#first = 0;
      this.floor = resume;
    } else while (this.#size > 0 && this.#entries.at(-1)?.id !== kept) this.#entries.pop();
    this.last = resume;
    this.confirmed = now;
    this.#pages.clear();
    this.wake();
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.base + this.#first];
  }

  /** The index of the first entry after an ID, or `undefined` if the ID is older than the floor. */
  seek(id: string): number | undefined {
    if (compareIds(id, this.floor) < 0) return undefined;
    let [low, high] = [this.base, this.base + this.#size];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareIds((this.at(middle) as Entry).id, id) > 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Whether the ID is the floor, or that of an entry in the log. */
  has(id: string): boolean {
    const index = this.seek(id);
    return index !== undefined && (index === this.base ? this.floor : this.at(index - 1)?.id) === id;
  }

  /**
   * A page of the entries that Redis holds after an ID, read once for all cursors that ask at the same time. While
   * Redis is unavailable, they wait.
   */
  page(id: string): Promise<Page> {
    let page = this.#pages.get(id);
    if (page === undefined) {
      page = this.#fetch(id).finally(() => this.#pages.delete(id));
      this.#pages.set(id, page);
    }
    return page;
  }

  async #fetch(id: string): Promise<Page> {
    for (let failures = 0; ; failures++) {
      try {
        return await this.#store.page(this.key, id);
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
    if (waiting.size === 0) return;
    this.#waiting = new Set();
    for (const waiter of waiting) waiter.wake();
  }

  fail(error: Error): void {
    this.error = error;
    this.wake();
  }
}
