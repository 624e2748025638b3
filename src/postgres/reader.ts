import type { Newest, Page, Tails } from "./cursor.js";
import type { Database } from "./database.js";
import { EndWatchers } from "./end-watchers.js";
import { Listener, type ListenerEvents } from "./listener.js";
import { newsIn, transactional } from "./notification.js";
import { ReadLoop } from "./read-loop.js";
import { anyway } from "./read-queue.js";
import type { Store } from "./store.js";
import { Tail } from "./tail.js";
import { keyOf, TailIndex } from "./tail-index.js";

/**
 * Keeps the tails of the channels that have subscriptions in this process. It has a channel read when a notification
 * names it. A notification only says that reading may be worthwhile, so one that is lost costs time and nothing else.
 */
export class Reader implements Tails, ListenerEvents {
  readonly maxAge: number;
  readonly #store: Store;
  readonly #listener: Listener;
  readonly #loop: ReadLoop;
  readonly #tails = new TailIndex();
  /** All tails that have subscriptions, including those that are not in the index any more. */
  readonly #joined = new Set<Tail>();
  readonly #watchers = new EndWatchers();

  /**
   * @param bell the name of the notifications; if it is `undefined`, the reader does not listen
   * @param interval from one check to the next, in milliseconds
   */
  constructor(store: Store, database: Database, bell: string | undefined, interval: number) {
    this.#store = store;
    this.#listener = new Listener(database, bell, store.timeout, interval, this);
    this.#loop = new ReadLoop(store, this.#listener, this.#tails, this.#watchers, interval);
    this.maxAge = store.history.maxAge;
  }

  find(channel: string): Tail | undefined {
    return this.#tails.find(channel);
  }

  join(channel: string, { place, status }: Newest): Tail {
    let tail = this.#tails.find(channel);
    if (tail === undefined) {
      tail = new Tail(channel, place, status, this.#store.history);
      this.#tails.add(tail);
      this.#joined.add(tail);
      this.#loop.request(tail, anyway);
    } else if ("asOf" in place && "asOf" in tail.place) tail.onAbsent(place.asOf);
    tail.subscriptions++;
    return tail;
  }

  leave(tail: Tail): void {
    tail.subscriptions--;
    if (tail.subscriptions > 0) return;
    this.#loop.drop(tail);
    this.#joined.delete(tail);
    this.#tails.delete(tail);
  }

  refresh(tail: Tail): Promise<void> {
    return new Promise((resolve) => {
      tail.onRead.push(resolve);
      this.#loop.request(tail, anyway);
    });
  }

  page(tail: Tail, run: string, n: number): Promise<Page> {
    return this.#store.page(tail.channel, { run, n }, () => tail.subscriptions > 0 && this.#loop.isOpen);
  }

  /**
   * Calls `wake` when the channel has ended, or may have.
   *
   * @returns a function that ends the watch
   */
  watch(channel: string, wake: () => void): () => void {
    const unwatch = this.#watchers.add(keyOf(channel), wake, () => this.#listener.isListening);
    this.#loop.start();
    // Its notification may have come while the answer to the claim was under way.
    if (this.#listener.isListening) wake();
    return unwatch;
  }

  /**
   * Called when this process has published to the channel. Without notifications, the event would not be read before
   * the next check.
   */
  onPublished(channel: string): void {
    const tail = this.#tails.find(channel);
    if (!this.#listener.isListening && tail !== undefined) this.#loop.request(tail, anyway);
  }

  onNotification(payload: string): void {
    if (payload === transactional) this.#loop.requestDrain();
    for (const { key, last, mayHaveEnded } of newsIn(payload)) {
      if (mayHaveEnded) this.#watchers.wake(key);
      const tail = this.#tails.findByKey(key);
      const n = mayHaveEnded ? anyway : last;
      if (tail !== undefined && n > tail.last) this.#loop.request(tail, n);
    }
  }

  onChange(): void {
    this.#loop.requestCheck();
    this.#watchers.wakeAll();
  }

  async close(): Promise<void> {
    this.#loop.close();
    for (const tail of this.#joined) tail.wake();
    await this.#listener.end();
  }
}
