/** How often to look for producers whose lease is over, in milliseconds. */
const leaseInterval = 1_000;

/** What is due after a rest. */
export interface Due {
  readonly isCheckDue: boolean;
  readonly areLeasesDue: boolean;
}

/** Lets a reader rest until something is due, or until `wake` is called. */
export class PollTimer {
  readonly #interval: number;
  #nextCheck: number;
  #nextLeases = 0;
  #wakeUp: (() => void) | undefined;

  /** @param interval from one check to the next, in milliseconds */
  constructor(interval: number) {
    this.#interval = interval;
    this.#nextCheck = performance.now() + interval;
  }

  wake(): void {
    this.#wakeUp?.();
  }

  /**
   * Resolves after `wake`, or when something is due.
   *
   * @param keepsAlive whether the timer keeps the process from ending
   */
  async rest(looksForLeases: boolean, keepsAlive: boolean): Promise<Due> {
    const next = looksForLeases ? Math.min(this.#nextCheck, this.#nextLeases) : this.#nextCheck;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, next - performance.now()));
      if (!keepsAlive) timer.unref();
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    const now = performance.now();
    const areLeasesDue = looksForLeases && now >= this.#nextLeases;
    if (areLeasesDue) this.#nextLeases = now + leaseInterval;
    const isCheckDue = now >= this.#nextCheck;
    if (isCheckDue) this.#nextCheck = now + this.#interval;
    return { isCheckDue, areLeasesDue };
  }
}
