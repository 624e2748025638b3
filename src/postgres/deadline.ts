import { EventStreamError } from "../errors.js";

/** The end of the time within which Postgres must have answered. */
export class Deadline {
  /** By `performance.now()`. */
  readonly at: number;
  readonly #timeout: number;

  /** @param timeout how long from now, in milliseconds */
  constructor(timeout: number) {
    this.at = performance.now() + timeout;
    this.#timeout = timeout;
  }

  /** Milliseconds; negative when the deadline has passed. */
  get left(): number {
    return this.at - performance.now();
  }

  get isOver(): boolean {
    return this.left <= 0;
  }

  error(): EventStreamError {
    return new EventStreamError(
      "ERR_BROKER_UNAVAILABLE",
      `Postgres did not answer within ${this.#timeout} ms. ` +
        "The request may have been carried out by then; it will not be later.",
    );
  }

  /**
   * Settles as `answer` does, or rejects at the deadline and calls `giveUp`.
   *
   * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE` at the deadline
   */
  race<T>(answer: Promise<T>, giveUp: () => void = () => {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(this.error());
        giveUp();
      }, this.left);
      answer.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}
