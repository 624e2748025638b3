import { Chain, type Link } from "./chain.js";
import { type Clock, currentClock } from "./clock.js";

/**
 * Periodic calls for many thousands of streams, at the price of one timer for each interval.
 *
 * All tickers of one interval have the same period, so one that starts later falls due later. The queue therefore stays
 * in order by itself, and one timer, set for its head, serves all of them. Streams that began together (after a
 * restart, say) fall due together. They are called in batches, with a turn of the event loop after each, so that a
 * burst does not delay anything else for long.
 */

/** The limits of a batch. The number of calls is limited too, because what they write is sent only after the batch. */
const batch = { calls: 50, milliseconds: 5 };

// Captured when the module loads, because work takes real time even under fake timers.
const realNow = performance.now.bind(performance);

/** Something that is called periodically. It is its own place in the queue, so that each stream needs no object more. */
export abstract class Ticker implements Link<Ticker> {
  before: Ticker | undefined;
  after: Ticker | undefined;
  /** When the next call is due. */
  due = 0;
  #sharedInterval: SharedInterval | undefined;

  abstract tick(): void;

  get isTicking(): boolean {
    return this.#sharedInterval !== undefined;
  }

  /** Calls `tick` every `interval` milliseconds, first after one interval. It must not be ticking yet. */
  protected startTicking(interval: number): void {
    this.#sharedInterval = sharedIntervalOf(interval);
    this.#sharedInterval.add(this);
  }

  protected stopTicking(): void {
    this.#sharedInterval?.delete(this);
    this.#sharedInterval = undefined;
  }
}

class SharedInterval {
  readonly #clock: Clock;
  readonly #interval: number;
  /** In the order in which they fall due. */
  readonly #tickers = new Chain<Ticker>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, interval: number) {
    this.#clock = clock;
    this.#interval = interval;
  }

  add(ticker: Ticker): void {
    // Rounded, because timers count in whole milliseconds.
    ticker.due = Math.round(this.#clock.now() + this.#interval);
    this.#tickers.add(ticker);
    if (this.#cancel === undefined) this.#schedule(this.#interval);
  }

  delete(ticker: Ticker): void {
    if (!this.#tickers.delete(ticker) || this.#tickers.first !== undefined) return;
    this.#cancel?.();
    this.#cancel = undefined;
    intervalsOf(this.#clock).delete(this.#interval);
  }

  #schedule(delay: number): void {
    const { setTimeout, clearTimeout, setImmediate, clearImmediate } = this.#clock;
    if (delay <= 0) {
      const immediate = setImmediate(this.#run);
      this.#cancel = () => clearImmediate(immediate);
    } else {
      const timeout = setTimeout(this.#run, delay);
      this.#cancel = () => clearTimeout(timeout);
    }
  }

  readonly #run = (): void => {
    // Timers may fire a fraction of a millisecond early.
    const now = this.#clock.now() + 1;
    const start = realNow();
    this.#skipMissed(now);
    let calls = 0;
    for (let ticker = this.#tickers.first; ticker !== undefined; ticker = this.#tickers.first) {
      if (ticker.due > now || calls === batch.calls || realNow() - start > batch.milliseconds) break;
      // The next call is counted from when this one was due, not from now, so that the period does not drift.
      this.#tickers.delete(ticker);
      ticker.due += this.#interval;
      this.#tickers.add(ticker);
      // If it is due again already, it has missed a call: skip this one, and let the next one come at once.
      if (ticker.due <= now) continue;
      calls += 1;
      ticker.tick();
    }
    const head = this.#tickers.first;
    if (head !== undefined) this.#schedule(head.due - this.#clock.now());
  };

  /**
   * After a standstill (a suspended laptop, a debugger), moves each ticker to the last time at which it was due. Going
   * through the missed calls one by one would block the event loop for seconds.
   */
  #skipMissed(now: number): void {
    const head = this.#tickers.first;
    if (head === undefined || head.due + 2 * this.#interval > now) return;
    const tickers = this.#tickers.takeAll();
    for (const ticker of tickers) {
      const missed = Math.floor((now - ticker.due) / this.#interval);
      if (missed > 0) ticker.due += missed * this.#interval;
    }
    for (const ticker of tickers.sort((a, b) => a.due - b.due)) this.#tickers.add(ticker);
  }
}

/** The intervals of each clock, so that a faked clock that stands still does not stop those of another. */
const intervals = new WeakMap<Clock, Map<number, SharedInterval>>();

function intervalsOf(clock: Clock): Map<number, SharedInterval> {
  let ofClock = intervals.get(clock);
  if (ofClock === undefined) intervals.set(clock, (ofClock = new Map<number, SharedInterval>()));
  return ofClock;
}

function sharedIntervalOf(interval: number): SharedInterval {
  const clock = currentClock();
  const ofClock = intervalsOf(clock);
  let sharedInterval = ofClock.get(interval);
  if (sharedInterval === undefined) ofClock.set(interval, (sharedInterval = new SharedInterval(clock, interval)));
  return sharedInterval;
}
