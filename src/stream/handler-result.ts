import type { NextFunction } from "express";
import { show } from "../errors.js";

/** The result of one call of a handler: its promise, and `next` for the errors that nobody has handled. */
export class HandlerResult {
  readonly #next: NextFunction | undefined;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  #state: "pending" | "succeeded" | "failed" = "pending";
  #errors: unknown[] | undefined;

  constructor(next: NextFunction | undefined, resolve: () => void, reject: (error: unknown) => void) {
    this.#next = next;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Notes an error that nobody has handled. It may come after the promise is settled: a hook is not awaited. */
  fail(error: unknown): void {
    if (this.#state === "pending") {
      (this.#errors ??= []).push(error);
    } else if (this.#state === "succeeded" && this.#next !== undefined) {
      this.#state = "failed";
      this.#pass(this.#next, forNext([error]));
    } else {
      // `next` is called once, and a promise settles once: nobody else is left to hear of it.
      process.emitWarning(forNext([error]) as Error);
    }
  }

  /** Settles the promise. Errors go to `next`, which is called once; without `next` the promise rejects. */
  settle(): void {
    const errors = this.#errors;
    this.#state = errors === undefined ? "succeeded" : "failed";
    if (errors === undefined) return this.#resolve();
    if (this.#next === undefined) return this.#reject(forNext(errors));
    this.#pass(this.#next, forNext(errors));
    this.#resolve();
  }

  #pass(next: NextFunction, error: object): void {
    try {
      next(error);
    } catch (thrown) {
      // Not here, where other streams may be waiting for their turn.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}

/** One error for `next`. What is no object is wrapped: `next("route")` and `next()` mean something else. */
function forNext(errors: readonly unknown[]): object {
  const [error] = errors;
  if (errors.length > 1)
    return new AggregateError(errors, "An event stream failed, and so did a hook that was called because of it.");
  return typeof error === "object" && error !== null
    ? error
    : new Error(`An event stream failed: ${show(error)} was thrown.`, { cause: error });
}
