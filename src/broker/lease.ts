import type { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";

/**
 * How long a producer may assume that it holds the channel, by the clock of its process. The time is counted from
 * before each request to the store, so it never outlasts the lease in the store.
 */
export class Lease {
  readonly #duration: number;
  /** By `performance.now()`. */
  #ends: number;
  #renewal: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;

  /** @param duration milliseconds; `Infinity` if the store ends with its producers' process */
  constructor(duration: number) {
    this.#duration = duration;
    this.#ends = performance.now() + duration;
  }

  get isOver(): boolean {
    return performance.now() >= this.#ends;
  }

  /** Calls `renew` three times in each lease, and `onExpiry` once when the lease is over. */
  start(renew: () => void, onExpiry: () => void): void {
    if (this.#duration === Infinity) return;
    this.#renewal = setInterval(renew, this.#duration / 3).unref();
    this.#watch(onExpiry);
  }

  #watch(onExpiry: () => void): void {
    const remaining = this.#ends - performance.now();
    if (remaining <= 0) onExpiry();
    else this.#expiry = setTimeout(() => this.#watch(onExpiry), remaining).unref();
  }

  /** Extends the lease because the store has renewed it; `asked` is when the store was asked. */
  extend(asked: number): void {
    this.#ends = Math.max(this.#ends, asked + this.#duration);
  }

  /**
   * Asks the store, and asks again while it does not answer, until the lease is over.
   *
   * @throws the error that `question` rejects with: `ERR_BROKER_UNAVAILABLE` only if the lease is over or the error is
   *   final
   */
  async ask<Answer>(
    question: () => Promise<Answer>,
    isFinal: (error: EventStreamError) => boolean = () => false,
  ): Promise<Answer> {
    for (let failures = 0; ; failures++) {
      try {
        return await question();
      } catch (error) {
        if ((error as Partial<EventStreamError> | undefined)?.code !== "ERR_BROKER_UNAVAILABLE") throw error;
        if (isFinal(error as EventStreamError)) throw error;
        await backOff(failures);
        if (this.isOver) throw error;
      }
    }
  }

  release(): void {
    clearInterval(this.#renewal);
    clearTimeout(this.#expiry);
    // Makes a call of `ask` that is still under way give up.
    this.#ends = -Infinity;
  }
}
