/**
 * Periodic calls for many thousand streams at the price of one timer for each interval.
 *
 * All beats of one interval are as long, so those that start later fall due later: a queue is in
 * order by itself, and one timer for its head serves everyone. Streams that began together (after
 * a restart, say) fall due together; they are called in batches with a turn of the event loop
 * between them, so that no burst holds anyone up.
 */

const batch = 200;

/** Who is called. */
export interface Ticker {
  tick(): void;
}

/** The calls of one `every`, until they are stopped. */
export class Beat {
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

/** The clock of the moment: under fake timers another one, which may be gone before its streams are. */
class Clock {
  readonly setTimeout: typeof setTimeout = globalThis.setTimeout;
  readonly clearTimeout: typeof clearTimeout = globalThis.clearTimeout;
  readonly setImmediate: typeof setImmediate = globalThis.setImmediate;
  readonly clearImmediate: typeof clearImmediate = globalThis.clearImmediate;
  readonly now: () => number = performance.now.bind(performance);
  readonly intervals: Map<number, SharedInterval> = new Map();
}

/** One for each `setTimeout` there has been, so that a clock that stands still stops nobody else. */
const clocks = new WeakMap<typeof setTimeout, Clock>();

class SharedInterval {
  readonly #clock: Clock;
  readonly #interval: number;
  /** In the order in which they fall due. */
  readonly #beats = new Set<Beat>();
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, interval: number) {
    this.#clock = clock;
    this.#interval = interval;
  }

  add(ticker: Ticker): Beat {
    // Whole milliseconds, as timers have them.
    const beat = new Beat(this, Math.round(this.#clock.now() + this.#interval), ticker);
    this.#beats.add(beat);
    if (this.#cancel === undefined) this.#schedule(this.#interval);
    return beat;
  }

  delete(beat: Beat): void {
    if (!this.#beats.delete(beat) || this.#beats.size > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#clock.intervals.delete(this.#interval);
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
    let called = 0;
    for (const beat of this.#beats) {
      if (beat.due > now || called === batch) break;
      // Counted from when it was due, not from now, so that the period does not drift; by one interval at a time, so that the
      // queue stays in order. A loop that was held up for longer calls once.
      this.#beats.delete(beat);
      beat.due += this.#interval;
      this.#beats.add(beat);
      if (beat.due <= now) continue;
      called += 1;
      beat.call();
    }
    const [head] = this.#beats;
    if (head !== undefined) this.#schedule(head.due - this.#clock.now());
  };
}

/** Has `ticker` called every `interval` milliseconds, first after one interval, until the beat it returns is stopped. */
export function every(interval: number, ticker: Ticker): Beat {
  let clock = clocks.get(setTimeout);
  if (clock === undefined) clocks.set(setTimeout, (clock = new Clock()));
  const { intervals } = clock;
  let sharedInterval = intervals.get(interval);
  if (sharedInterval === undefined) intervals.set(interval, (sharedInterval = new SharedInterval(clock, interval)));
  return sharedInterval.add(ticker);
}
