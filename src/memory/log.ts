import { cancel, whenNobodyWaits } from "../runtime/turn.js";
import { wakeSoon } from "../runtime/woken.js";
import type { Waiter } from "../source/feed.js";
import type { History } from "../broker/checks.js";
import type { PublishedEvent } from "../broker/broker.js";

/** An event and its place in the log. `at` is when it was published, in milliseconds of `performance.now()`. */
export interface Entry {
  readonly sequence: number;
  readonly at: number;
  readonly event: PublishedEvent;
}

/** The producer that a channel has, or had. */
export interface Claim {
  readonly token: string;
  state: "live" | "ended" | "stopped";
  /** Tells the producer that it has been stopped. */
  wake?: (() => void) | undefined;
}

/**
 * The bounded log of one channel. It knows only the subscriptions that wait at its end: one that lags costs it nothing,
 * and one that is dropped leaves nothing behind.
 */
export class Log {
  isEnded = false;
  /** Whether the broker has forgotten it: later events of the channel go to another log. */
  isForgotten = false;
  claim: Claim | undefined;
  /** How many subscriptions there are to the channel. One that is dropped without being ended counts for ever. */
  subscriptions = 0;
  /** When its newest event or its end came. Its age is counted from then. */
  touched: number = performance.now();
  /** Whether the last sweep found it idle. The next one forgets it, unless it has been used in between. */
  wasIdle = false;

  #waiting = new Set<Waiter>();
  /** Whether it waits for those that it has woken to read. `"more woken"`: others have been woken since that began. */
  #reading: "no" | "yes" | "more woken" = "no";
  /** The sequence of its newest entry. */
  last: number;

  readonly #history: History;
  readonly #forgottenUpTo: number;
  /** In the order of their sequence; those before `#first` have been evicted. */
  #entries: (Entry | undefined)[] = [];
  #first = 0;
  /** The sequence of the last entry that was evicted. */
  #evictedUpTo: number | undefined;

  /** @param forgottenUpTo the sequence up to which an earlier log of this channel may have held entries */
  constructor(history: History, forgottenUpTo: number) {
    this.#history = history;
    this.#forgottenUpTo = forgottenUpTo;
    this.last = forgottenUpTo;
  }

  /** Whether a subscription waits for the next event, or a producer is at work. */
  get isInUse(): boolean {
    return this.#waiting.size > 0 || this.claim?.state === "live";
  }

  /** The broker has no more use for it: nothing may hold it for longer than its readers do. */
  forget(): void {
    this.isForgotten = true;
    cancel(this.#onRead);
  }

  wait(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  release(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** Calls each waiter once. One that has read to the end again must call `wait` again. */
  wake(): void {
    if (this.#waiting.size === 0) return;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const waiter of waiting) waiter.wake();
  }

  append(entry: Entry): void {
    this.touched = entry.at;
    this.last = entry.sequence;
    this.#entries.push(entry);
    const isAwaited = this.#waiting.size > 0;
    this.wake();
    if (isAwaited) this.#trimSoon();
    this.#trim();
  }

  /**
   * Trims after the woken subscriptions have read, including those that need several turns. Until then, up to twice
   * `maxEvents` are held.
   */
  #trimSoon(): void {
    if (this.#reading === "no") this.#awaitReaders();
    else this.#reading = "more woken";
  }

  #awaitReaders(): void {
    this.#reading = "yes";
    // The tick comes after the promises of those that read with `next`.
    wakeSoon({ onWoken: () => process.nextTick(() => this.isForgotten || whenNobodyWaits(this.#onRead)) });
  }

  readonly #onRead = (): void => {
    // Those that another event has woken meanwhile may not have begun to read.
    if (this.#reading === "more woken") return this.#awaitReaders();
    this.#reading = "no";
    this.#trim();
  };

  #trim(): void {
    const limit = this.#history.maxEvents * (this.#reading === "no" ? 1 : 2);
    while (this.#entries.length - this.#first > limit) this.#evict();
    this.expire(this.touched);
  }

  /** Evicts the entries that are too old. */
  expire(now: number): void {
    for (
      let entry = this.#entries[this.#first];
      entry !== undefined && now - entry.at >= this.#history.maxAge;
      entry = this.#entries[this.#first]
    ) {
      this.#evict();
    }
  }

  #evict(): void {
    this.#evictedUpTo = (this.#entries[this.#first] as Entry).sequence;
    // Freed now, not when the array is cut: otherwise up to twice as many entries would be held.
    this.#entries[this.#first] = undefined;
    this.#first += 1;
    // Cut when half of the array is empty, so that each entry is moved about once in its life.
    if (this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
  }

  /**
   * Where `from: "start"` begins: before what is held. If the channel has had a producer, it begins before the first
   * event ever, so that an answer whose beginning is lost starts with a gap.
   */
  get start(): number {
    return this.claim === undefined ? this.lostUpTo : this.#forgottenUpTo;
  }

  /** The sequence up to which entries are missing by now. */
  get lostUpTo(): number {
    this.expire(performance.now());
    return this.#evictedUpTo ?? this.#forgottenUpTo;
  }

  /** The first entry after `sequence` that is held. */
  after(sequence: number): Entry | undefined {
    return this.#entries[this.#indexAfter(sequence)];
  }

  /** Whether it has never held anything, so that forgetting it loses nothing. */
  get isBlank(): boolean {
    return !this.isEnded && this.claim === undefined && this.last === this.#forgottenUpTo;
  }

  /** Whether everything in it has aged out, with no subscription waiting and no producer. */
  isIdle(now: number): boolean {
    this.expire(now);
    const hasEntries = this.#first < this.#entries.length;
    const hasMark = this.isEnded && now - this.touched < this.#history.maxAge;
    return !hasEntries && !hasMark && !this.isInUse;
  }

  /** Whether `sequence` is, or may have been, the number of an entry of this log. */
  knows(sequence: number): boolean {
    const { lostUpTo } = this;
    return (
      sequence === this.#evictedUpTo ||
      sequence < lostUpTo ||
      this.#entries[this.#indexAfter(sequence - 1)]?.sequence === sequence
    );
  }

  #indexAfter(sequence: number): number {
    let low = this.#first;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as Entry).sequence > sequence) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
