import type { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";

/**
 * How long a producer may assume that it holds the channel, by the clock of its process. The time counts from before
 * each question to the store, so it never outlasts the lease in the store.
 */
export class Lease {
  readonly #duration: number;
  /** By `performance.now()`. */
  #ends: number;
  #renewal: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;

  /** @param duration milliseconds; `Infinity` where the store lives and dies with its producers */
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

  /** The store has renewed the lease, asked at `asked`. */
  extend(asked: number): void {
    this.#ends = Math.max(this.#ends, asked + this.#duration);
  }

  /**
   * Asks the store, again and again while it does not answer, until the lease is over.
   *
   * @throws what `question` rejects with: `ERR_BROKER_UNAVAILABLE` only when the lease is over, or the error is final
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
    // Whoever still asks stops asking.
    this.#ends = -Infinity;
  }
}
