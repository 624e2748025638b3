import { Chain, type Link } from "./chain.js";
import { type Clock, currentClock } from "./clock.js";

/**
 * Periodic calls for many thousands of streams, at the price of one timer for each interval.
 *
 * All beats of one interval have the same period, so a beat that starts later falls due later. The queue therefore
 * stays in order by itself, and one timer, set for its head, serves all beats. Streams that began together (after a
 * restart, say) fall due together. They are called in batches, with a turn of the event loop after each, so that a
 * burst does not delay anything else for long.
 */

/** The limits of a batch. The number of calls is limited too, because what they write is sent only after the batch. */
const batch = { calls: 50, milliseconds: 5 };

// Captured when the module loads, because work takes real time even under fake timers.
const realNow = performance.now.bind(performance);

/** What a shared interval calls. */
export interface Ticker {
  tick(): void;
}

/** The periodic calls that one `every` has started, until they are stopped. */
export class Beat implements Link<Beat> {
  before: Beat | undefined;
  after: Beat | undefined;
  due: number;
  readonly #sharedInterval: SharedInterval;
  readonly #ticker: Ticker;

  constructor(sharedInterval: SharedInterval, due: number, ticker: Ticker) {
    this.#sharedInterval = sharedInterval;
    this.due = due;
    this.#ticker = ticker;
  }

  call(): void {
    this.#ticker.tick();
  }

  stop(): void {
    this.#sharedInterval.delete(this);
  }
}

class SharedInterval {
  readonly #clock: Clock;
  readonly #interval: number;
  /** In the order in which they fall due. */
  readonly #beats = new Chain<Beat>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, interval: number) {
    this.#clock = clock;
    this.#interval = interval;
  }

  add(ticker: Ticker): Beat {
    // Rounded, because timers count in whole milliseconds.
    const beat = new Beat(this, Math.round(this.#clock.now() + this.#interval), ticker);
    this.#beats.add(beat);
    if (this.#cancel === undefined) this.#schedule(this.#interval);
    return beat;
  }

  delete(beat: Beat): void {
    if (!this.#beats.delete(beat) || this.#beats.first !== undefined) return;
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
    for (let beat = this.#beats.first; beat !== undefined; beat = this.#beats.first) {
      if (beat.due > now || calls === batch.calls || realNow() - start > batch.milliseconds) break;
      // The next call is counted from when this one was due, not from now, so that the period does not drift.
      this.#beats.delete(beat);
      beat.due += this.#interval;
      this.#beats.add(beat);
      // If the beat is due again already, it has missed a call: skip this one, and let the next one come at once.
      if (beat.due <= now) continue;
      calls += 1;
      beat.call();
    }
    const head = this.#beats.first;
    if (head !== undefined) this.#schedule(head.due - this.#clock.now());
  };

  /**
   * After a standstill (a suspended laptop, a debugger), moves each beat to the last time at which it was due. Going
   * through the missed calls one by one would block the event loop for seconds.
   */
  #skipMissed(now: number): void {
    const head = this.#beats.first;
    if (head === undefined || head.due + 2 * this.#interval > now) return;
    const beats = this.#beats.takeAll();
    for (const beat of beats) {
      const missed = Math.floor((now - beat.due) / this.#interval);
      if (missed > 0) beat.due += missed * this.#interval;
    }
    for (const beat of beats.sort((a, b) => a.due - b.due)) this.#beats.add(beat);
  }
}

/** The intervals of each clock, so that a faked clock that stands still does not stop those of another. */
const intervals = new WeakMap<Clock, Map<number, SharedInterval>>();

function intervalsOf(clock: Clock): Map<number, SharedInterval> {
  let ofClock = intervals.get(clock);
  if (ofClock === undefined) intervals.set(clock, (ofClock = new Map<number, SharedInterval>()));
  return ofClock;
}

/** Calls `ticker` every `interval` milliseconds, first after one interval, until the returned beat is stopped. */
export function every(interval: number, ticker: Ticker): Beat {
  const clock = currentClock();
  const ofClock = intervalsOf(clock);
  let sharedInterval = ofClock.get(interval);
  if (sharedInterval === undefined) ofClock.set(interval, (sharedInterval = new SharedInterval(clock, interval)));
  return sharedInterval.add(ticker);
}
