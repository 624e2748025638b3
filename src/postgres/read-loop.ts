import { backOff } from "../runtime/backoff.js";
import { type Runner, sqlState } from "./database.js";
import { Deadline } from "./deadline.js";
import type { EndWatchers } from "./end-watchers.js";
import type { Listener } from "./listener.js";
import { PollTimer } from "./poll-timer.js";
import { anyway, ReadQueue } from "./read-queue.js";
import type { ReadResult } from "./read-statement.js";
import type { Store } from "./store.js";
import type { Tail } from "./tail.js";
import type { TailIndex } from "./tail-index.js";

/**
 * Asks the database for what the tails lack, one statement at a time, and rests in between. At every `interval`, it
 * asks in one statement which channels have changed, and reads those. It runs while it is needed, and ends the
 * listener's connection when it stops.
 */
export class ReadLoop {
  readonly #store: Store;
  readonly #listener: Listener;
  readonly #tails: TailIndex;
  readonly #watchers: EndWatchers;
  readonly #timer: PollTimer;
  readonly #queue = new ReadQueue();
  #state: "idle" | "running" | "closed" = "idle";
  #isCheckDue = false;
  #isDrainDue = false;

  constructor(store: Store, listener: Listener, tails: TailIndex, watchers: EndWatchers, interval: number) {
    this.#store = store;
    this.#listener = listener;
    this.#tails = tails;
    this.#watchers = watchers;
    this.#timer = new PollTimer(interval);
  }

  get isOpen(): boolean {
    return this.#state !== "closed";
  }

  start(): void {
    if (this.#state === "idle") void this.#run();
    else this.#timer.wake();
  }

  close(): void {
    this.#state = "closed";
    this.#timer.wake();
  }

  /** Has a tail read that lacks the event numbered `n`. */
  request(tail: Tail, n: number): void {
    this.#queue.add(tail, n);
    this.start();
  }

  /** Takes back what has been requested for a tail. */
  drop(tail: Tail): void {
    this.#queue.delete(tail);
  }

  requestCheck(): void {
    this.#isCheckDue = this.#tails.size > 0;
    this.#timer.wake();
  }

  requestDrain(): void {
    this.#isDrainDue = true;
    this.#timer.wake();
  }

  async #run(): Promise<void> {
    this.#state = "running";
    for (let failures = 0; this.isOpen;) {
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
        if (this.isOpen) await backOff(failures++);
        if (this.#isUnused) break;
        continue;
      }
      if (!this.#queue.isEmpty || this.#isDrainDue || this.#isCheckDue || !this.isOpen) continue;
      const due = await this.#timer.rest(this.#tails.produced.size > 0, this.#tails.size > 0);
      this.#isDrainDue ||= due.areLeasesDue;
      if (!due.isCheckDue) continue;
      if (this.#isUnused) break;
      for (const tail of this.#tails) tail.expire();
      this.#isCheckDue = true;
    }
    if (this.isOpen) this.#state = "idle";
    await this.#listener.close();
  }

  /** Whether nobody waits for anything. */
  get #isUnused(): boolean {
    return this.#tails.size === 0 && this.#watchers.isEmpty && this.#queue.isEmpty;
  }

  async #check(runner: Runner): Promise<void> {
    this.#isCheckDue = false;
    this.#isDrainDue = false;
    const tails = [...this.#tails];
    const { clock, results, hasMore } = await this.#store.check(tails, runner);
    this.#isDrainDue ||= hasMore;
    for (const [index, tail] of tails.entries()) {
      const { status, isGone } = results[index] as ReadResult;
      if (this.#isForgotten(tail, status?.production)) {
        await this.#store.lose(tail.channel, runner);
        this.#isDrainDue = true;
      }
      if (status !== undefined) this.request(tail, anyway);
      else if (isGone || "asOf" in tail.place) tail.onAbsent(clock);
      if (isGone) tail.wake();
    }
  }

  /**
   * Whether the database has forgotten that this tail's channel has a producer. If the producer is gone too, nobody else
   * would tell the subscribers. (The database always tells of a channel that has a producer, or has ended.)
   */
  #isForgotten(tail: Tail, production: "none" | "live" | "over" = "none"): boolean {
    return production === "none" && this.#tails.produced.has(tail);
  }

  async #drain(runner: Runner): Promise<void> {
    this.#isDrainDue = false;
    const [rows = []] = await runner.run([this.#store.drainStatement()], new Deadline(this.#store.timeout));
    this.#isDrainDue ||= this.#store.onDrained(rows);
    // Without notifications, this process does not hear that a producer is lost.
    if (!this.#listener.isListening) for (const tail of this.#tails.produced) this.request(tail, anyway);
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
    if (tail.subscriptions === 0) return;
    const { status, isGone } = result;
    // A check has the time by which the channel is gone, and tells those who wait for its producer.
    if (isGone || this.#isForgotten(tail, status?.production)) this.#isCheckDue = true;
    if (status === undefined) return;
    if (tail.update(result)) this.request(tail, anyway);
    if (status.production === "live") this.#tails.produced.add(tail);
    // A channel that has ended may be forgotten and begin anew, so later subscriptions ask the database.
    if (tail.isEnded || tail.error !== undefined) this.#tails.delete(tail);
    tail.wake();
  }
}
