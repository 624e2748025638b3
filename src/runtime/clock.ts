/**
 * The global timers and clock at the time when this object was made. Fake timers replace the globals, and may be
 * removed while streams still use them.
 */
export class Clock {
  readonly setTimeout: typeof setTimeout = globalThis.setTimeout;
  readonly clearTimeout: typeof clearTimeout = globalThis.clearTimeout;
  readonly setImmediate: typeof setImmediate = globalThis.setImmediate;
  readonly clearImmediate: typeof clearImmediate = globalThis.clearImmediate;
  readonly now: () => number = performance.now.bind(performance);
}

/** One clock for each function that has been the global `setTimeout`. */
const clocks = new WeakMap<typeof setTimeout, Clock>();

export function currentClock(): Clock {
  let clock = clocks.get(globalThis.setTimeout);
  if (clock === undefined) clocks.set(globalThis.setTimeout, (clock = new Clock()));
  return clock;
}

/** One call after `delay` milliseconds. It can be stopped even if timers have been faked or restored since it began. */
export class Timer {
  readonly #clock: Clock = currentClock();
  readonly #timeout: NodeJS.Timeout;

  constructor(delay: number, callback: () => void) {
    this.#timeout = this.#clock.setTimeout(callback, delay);
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timeout);
  }
}
