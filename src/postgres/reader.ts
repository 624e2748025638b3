import { backOff } from "../runtime/backoff.js";
import type { Newest, Page, Tails } from "./cursor.js";
import { type Database, type Runner, sqlState } from "./database.js";
import { Listener, type ListenerEvents } from "./listener.js";
import { Pace } from "./pace.js";
import { type Found, foundIn, readStatement } from "./readings.js";
import type { Store } from "./store.js";
import { Tail } from "./tail.js";
import { keyOf, TailIndex } from "./tail-index.js";
import { Watches } from "./watches.js";

/** How many channels one statement reads at most. */
const tailsAtOnce = 64;

/** That a tail is to be read whatever is known of it. */
const anyway = Infinity;

/**
 * Reads the channels that have subscriptions in this process and feeds their tails: those that a bell names, and every
 * `interval` those that have changed, which one statement tells.
 *
 * A bell is never believed for more than that it may be worth reading, so one that is lost costs time only.
 */
export class Reader implements Tails, ListenerEvents {
  readonly maxAge: number;
  readonly #store: Store;
  readonly #listener: Listener;
  readonly #pace: Pace;
  readonly #tails = new TailIndex();
  readonly #watches = new Watches();
  /** The tails to read, each with the number of an event that it has to have. */
  #rung = new Map<Tail, number>();
  #state: "idle" | "running" | "closed" = "idle";
  /** Those that somebody fills: whoever reads them notices when its lease is over. */
  readonly #produced = new Set<Tail>();
  #isCheckDue = false;
  #isDrainDue = false;

  /** @param bell `undefined`: it does not listen, and asks every `interval` milliseconds */
  constructor(store: Store, database: Database, bell: string | undefined, interval: number) {
    this.#store = store;
    this.#listener = new Listener(database, bell, store.timeout, interval, this);
    this.#pace = new Pace(interval);
    this.maxAge = store.history.maxAge;
  }

  find(channel: string): Tail | undefined {
    return this.#tails.find(channel);
  }

  join(channel: string, { place, head }: Newest): Tail {
    let tail = this.#tails.find(channel);
    if (tail === undefined) {
      const { maxEvents, maxAge } = this.#store.history;
      tail = new Tail(channel, place, head, maxEvents, maxAge);
      this.#tails.add(tail);
      this.#ring(tail, anyway);
    }
    tail.subscriptions++;
    return tail;
  }

  leave(tail: Tail): void {
    tail.subscriptions--;
    if (tail.subscriptions > 0) return;
    this.#rung.delete(tail);
    this.#forget(tail);
  }

  /** Reads that its subscriptions have asked for go on. */
  #forget(tail: Tail): void {
    this.#tails.delete(tail);
    this.#produced.delete(tail);
  }

  refresh(tail: Tail): Promise<void> {
    return new Promise((resolve) => {
      tail.refreshing.push(resolve);
      this.#ring(tail, anyway);
    });
  }

  page(tail: Tail, run: string, n: number): Promise<Page> {
    return this.#store.page(tail.channel, { run, n }, () => tail.subscriptions > 0 && this.#isOpen);
  }

  /** Has `wake` called when the channel has ended, or may have. */
  watch(channel: string, wake: () => void): () => void {
    const unwatch = this.#watches.add(keyOf(channel), wake, () => this.#listener.isListening);
    if (this.#state === "idle") void this.#run();
    return unwatch;
  }

  /** This process has published an event: who does not listen would hear of it with the next check only. */
  published(channel: string): void {
    const tail = this.#tails.find(channel);
    if (!this.#listener.isListening && tail !== undefined) this.#ring(tail, anyway);
  }

  async close(): Promise<void> {
    this.#state = "closed";
    for (const tail of this.#tails) tail.wake();
    this.#pace.wake();
    await this.#listener.close();
  }

  #ring(tail: Tail, n: number): void {
    this.#rung.set(tail, Math.max(n, this.#rung.get(tail) ?? 0));
    if (this.#state === "idle") void this.#run();
    else this.#pace.wake();
  }

  /** What a bell says: nothing where something is pending, else the keys of channels and the numbers of their last events. */
  onNotification(payload: string): void {
    if (payload === "") {
      this.#isDrainDue = true;
      this.#pace.wake();
    }
    for (const [, key, last, ended] of payload.matchAll(/([0-9a-f]{16}):(\d+)(!?)/g)) {
      if (ended === "!") this.#watches.ring(key as string);
      const tail = this.#tails.findByKey(key as string);
      if (tail === undefined) continue;
      if (ended === "!") this.#ring(tail, anyway);
      else if (Number(last) > tail.last) this.#ring(tail, Number(last));
    }
  }

  onChange(): void {
    this.#isCheckDue = this.#tails.size > 0;
    this.#watches.ringAll();
    this.#pace.wake();
  }

  async #run(): Promise<void> {
    this.#state = "running";
    for (let failures = 0; this.#isOpen;) {
      try {
        const { runner } = this.#listener;
        if (this.#isCheckDue) await this.#check(runner);
        if (this.#isDrainDue) await this.#drain(runner);
        await this.#read(runner);
        failures = 0;
      } catch (error) {
        if (sqlState(error) === undefined) await this.#listener.close();
        this.#isCheckDue = true;
        if (this.#isOpen) await backOff(failures++);
        continue;
      }
      if (this.#rung.size > 0 || this.#isDrainDue || this.#isCheckDue || !this.#isOpen) continue;
      const due = await this.#pace.rest(this.#produced.size > 0, this.#tails.size > 0);
      this.#isDrainDue ||= due.areLeasesDue;
      if (!due.isCheckDue) continue;
      if (this.#tails.size === 0 && !this.#watches.isWatching) break;
      for (const tail of this.#tails) tail.expire();
      this.#isCheckDue = true;
    }
    if (this.#isOpen) this.#state = "idle";
    await this.#listener.close();
  }

  get #isOpen(): boolean {
    return this.#state !== "closed";
  }

  /** Which channels have changed, and that those of this process are used. */
  async #check(runner: Runner): Promise<void> {
    this.#isCheckDue = false;
    const { s, history, timeout } = this.#store;
    const tails = [...this.#tails];
    const [clock, rows = [], , drained = []] = await runner.run(
      [
        `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::text`,
        readStatement(s, tails, history.maxAge, false),
        this.#store.touchStatement(tails.map(({ channel }) => channel)),
        this.#store.drainStatement(),
      ],
      timeout,
    );
    this.#isDrainDue = this.#store.drained(drained);
    for (const [index, { head }] of foundIn(rows, tails).entries()) {
      const tail = tails[index] as Tail;
      if (head !== undefined) this.#ring(tail, anyway);
      else if ("asOf" in tail.place) tail.place = { asOf: Number(clock?.[0]?.[0]) };
    }
  }

  async #drain(runner: Runner): Promise<void> {
    this.#isDrainDue = false;
    const [rows = []] = await runner.run([this.#store.drainStatement()], this.#store.timeout);
    this.#isDrainDue ||= this.#store.drained(rows);
  }

  async #read(runner: Runner): Promise<void> {
    const tails: Tail[] = [];
    for (const [tail, n] of this.#rung) {
      if (tails.length === tailsAtOnce) break;
      this.#rung.delete(tail);
      // An earlier read has brought it.
      if (n > tail.last) tails.push(tail);
    }
    if (tails.length === 0) return;
    const waiting = tails.map((tail) => tail.refreshing.splice(0));
    try {
      const { s, history, timeout } = this.#store;
      const [rows = []] = await runner.run([readStatement(s, tails, history.maxAge, true)], timeout);
      for (const [index, found] of foundIn(rows, tails).entries()) this.#feed(tails[index] as Tail, found);
      for (const resolve of waiting.flat()) resolve();
    } catch (error) {
      for (const [index, tail] of tails.entries()) {
        this.#rung.set(tail, anyway);
        tail.refreshing.push(...(waiting[index] ?? []));
      }
      throw error;
    }
  }

  #feed(tail: Tail, { head, entries, error }: Found): void {
    if (head === undefined) return;
    const losses = tail.losses.length;
    tail.reconcile(head);
    if (tail.losses.length > losses) this.#ring(tail, anyway);
    else {
      tail.append(entries);
      if (error !== undefined) {
        tail.error = error;
        this.#forget(tail);
      } else if (entries.length === 0 && head.last > tail.last) tail.skip(head.last);
      else if (head.last > tail.last) this.#ring(tail, anyway);
      if (head.production === "live") this.#produced.add(tail);
      else this.#produced.delete(tail);
      if (head.isEnded && tail.last >= head.last) {
        tail.isEnded = true;
        // Who subscribes from now on asks the database: the channel may be forgotten, and begin anew.
        this.#forget(tail);
      }
    }
    tail.wake();
  }
}
