import { backOff } from "../runtime/backoff.js";
import type { Newest, Page, Tails } from "./cursor.js";
import { type Database, type Runner, sqlState } from "./database.js";
import { Deadline } from "./deadline.js";
import { EndWatchers } from "./end-watchers.js";
import { Listener, type ListenerEvents } from "./listener.js";
import { newsIn, transactional } from "./notification.js";
import { PollTimer } from "./poll-timer.js";
import { anyway, ReadQueue } from "./read-queue.js";
import type { ReadResult } from "./read-statement.js";
import type { Store } from "./store.js";
import { Tail } from "./tail.js";
import { keyOf, TailIndex } from "./tail-index.js";

/**
 * Reads the channels that have subscriptions in this process, and feeds their tails. It reads a channel when a
 * notification names it. At every `interval`, it also asks in one statement which channels have changed, and reads
 * those.
 *
 * A notification only says that reading may be worthwhile, so one that is lost costs time and nothing else.
 */
export class Reader implements Tails, ListenerEvents {
  readonly maxAge: number;
  readonly #store: Store;
  readonly #listener: Listener;
  readonly #timer: PollTimer;
  readonly #tails = new TailIndex();
  /** All tails that have subscriptions, including detached ones. */
  readonly #joined = new Set<Tail>();
  readonly #watchers = new EndWatchers();
  readonly #queue = new ReadQueue();
  #state: "idle" | "running" | "closed" = "idle";
  /** The tails whose channel has a producer: its lease may run out. */
  readonly #produced = new Set<Tail>();
  #isCheckDue = false;
  #isDrainDue = false;

  /**
   * @param bell the name of the notifications; if it is `undefined`, the reader does not listen
   * @param interval from one check to the next, in milliseconds
   */
  constructor(store: Store, database: Database, bell: string | undefined, interval: number) {
    this.#store = store;
    this.#listener = new Listener(database, bell, store.timeout, interval, this);
    this.#timer = new PollTimer(interval);
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
      this.#request(tail, anyway);
    }
    tail.subscriptions++;
    return tail;
  }

  leave(tail: Tail): void {
    tail.subscriptions--;
    if (tail.subscriptions > 0) return;
    this.#queue.delete(tail);
    this.#joined.delete(tail);
    this.#detach(tail);
  }

  /** Makes later subscriptions get another tail. This one is read only if its own subscriptions ask for it. */
  #detach(tail: Tail): void {
    this.#tails.delete(tail);
    this.#produced.delete(tail);
  }

  refresh(tail: Tail): Promise<void> {
    return new Promise((resolve) => {
      tail.onRead.push(resolve);
      this.#request(tail, anyway);
    });
  }

  page(tail: Tail, run: string, n: number): Promise<Page> {
    return this.#store.page(tail.channel, { run, n }, () => tail.subscriptions > 0 && this.#isOpen);
  }

  /**
   * Calls `wake` when the channel has ended, or may have.
   *
   * @returns a function that ends the watch
   */
  watch(channel: string, wake: () => void): () => void {
    const unwatch = this.#watchers.add(keyOf(channel), wake, () => this.#listener.isListening);
    if (this.#state === "idle") void this.#run();
    // Its notification may have come while the answer to the claim was under way.
    if (this.#listener.isListening) wake();
    return unwatch;
  }

  /**
   * Called when this process has published to the channel. Without notifications, the reader would not read the event
   * before the next check.
   */
  onPublished(channel: string): void {
    const tail = this.#tails.find(channel);
    if (!this.#listener.isListening && tail !== undefined) this.#request(tail, anyway);
  }

  async close(): Promise<void> {
    this.#state = "closed";
    for (const tail of this.#joined) tail.wake();
    this.#timer.wake();
    await this.#listener.end();
  }

  #request(tail: Tail, n: number): void {
    this.#queue.add(tail, n);
    if (this.#state === "idle") void this.#run();
    else this.#timer.wake();
  }

  onNotification(payload: string): void {
    if (payload === transactional) {
      this.#isDrainDue = true;
      this.#timer.wake();
    }
    for (const { key, last, mayHaveEnded } of newsIn(payload)) {
      if (mayHaveEnded) this.#watchers.wake(key);
      const tail = this.#tails.findByKey(key);
      const n = mayHaveEnded ? anyway : last;
      if (tail !== undefined && n > tail.last) this.#request(tail, n);
    }
  }

  onChange(): void {
    this.#isCheckDue = this.#tails.size > 0;
    this.#watchers.wakeAll();
    this.#timer.wake();
  }

  async #run(): Promise<void> {
    this.#state = "running";
    for (let failures = 0; this.#isOpen;) {
      const { runner } = this.#listener;
      try {
        if (this.#isCheckDue) await this.#check(runner);
        if (this.#isDrainDue) await this.#drain(runner);
        await this.#read(runner);
        failures = 0;
      } catch (error) {
        // An error without an SQLSTATE does not come from the database, so the connection has failed.
        if (sqlState(error) === undefined) await this.#listener.discard(runner);
        this.#isCheckDue = true;
        if (this.#isOpen) await backOff(failures++);
        if (this.#isUnused) break;
        continue;
      }
      if (!this.#queue.isEmpty || this.#isDrainDue || this.#isCheckDue || !this.#isOpen) continue;
      const due = await this.#timer.rest(this.#produced.size > 0, this.#tails.size > 0);
      this.#isDrainDue ||= due.areLeasesDue;
      if (!due.isCheckDue) continue;
      if (this.#isUnused) break;
      for (const tail of this.#tails) tail.expire();
      this.#isCheckDue = true;
    }
    if (this.#isOpen) this.#state = "idle";
    await this.#listener.close();
  }

  /** Whether nobody waits for anything. */
  get #isUnused(): boolean {
    return this.#tails.size === 0 && this.#watchers.isEmpty && this.#queue.isEmpty;
  }

  get #isOpen(): boolean {
    return this.#state !== "closed";
  }

  async #check(runner: Runner): Promise<void> {
    this.#isCheckDue = false;
    this.#isDrainDue = false;
    const tails = [...this.#tails];
    const { clock, results, hasMore } = await this.#store.check(tails, runner);
    this.#isDrainDue ||= hasMore;
    for (const [index, { status }] of results.entries()) {
      const tail = tails[index] as Tail;
      if (status !== undefined) this.#request(tail, anyway);
      else if ("asOf" in tail.place) tail.place = { asOf: clock };
    }
  }

  async #drain(runner: Runner): Promise<void> {
    this.#isDrainDue = false;
    const [rows = []] = await runner.run([this.#store.drainStatement()], new Deadline(this.#store.timeout));
    this.#isDrainDue ||= this.#store.onDrained(rows);
    // Without notifications, this process does not hear that a producer is lost.
    if (!this.#listener.isListening) for (const tail of this.#produced) this.#request(tail, anyway);
  }

  async #read(runner: Runner): Promise<void> {
    const tails = this.#queue.take();
    if (tails.length === 0) return;
    const callbacks = tails.map((tail) => tail.onRead.splice(0));
    try {
      const results = await this.#store.read(tails, runner);
      for (const [index, result] of results.entries()) this.#update(tails[index] as Tail, result);
      for (const onRead of callbacks.flat()) onRead();
    } catch (error) {
      for (const [index, tail] of tails.entries()) {
        if (tail.subscriptions === 0) continue;
        this.#queue.add(tail, anyway);
        tail.onRead.push(...(callbacks[index] ?? []));
      }
      throw error;
    }
  }

  #update(tail: Tail, result: ReadResult): void {
    // The last subscription may have left in the meantime.
    if (result.status === undefined || tail.subscriptions === 0) return;
    if (tail.update(result)) this.#request(tail, anyway);
    if (result.status.production === "live") this.#produced.add(tail);
    else this.#produced.delete(tail);
    // A channel that has ended may be forgotten and begin anew, so later subscriptions ask the database.
    if (tail.isEnded || tail.error !== undefined) this.#detach(tail);
    tail.wake();
  }
}
