import type { NextFunction } from "express";
import { show } from "../errors.js";

/** Settles the promise of a handler: with nothing, or with a promise that has rejected. */
export type Resolve = (value?: PromiseLike<never>) => void;

/** The result of one call of a handler: its promise, and `next` for unhandled errors. */
export class HandlerResult {
  readonly #next: NextFunction | undefined;
  readonly #resolve: Resolve;
  #state: "pending" | "succeeded" | "failed" = "pending";
  #errors: unknown[] | undefined;

  constructor(next: NextFunction | undefined, resolve: Resolve) {
    this.#next = next;
    this.#resolve = resolve;
  }

  /** Records an unhandled error. It may come after the promise has settled, because hooks are not awaited. */
  fail(error: unknown): void {
    if (this.#state === "pending") {
      (this.#errors ??= []).push(error);
    } else if (this.#state === "succeeded" && this.#next !== undefined) {
      this.#state = "failed";
      this.#pass(this.#next, forNext([error]));
    } else {
      // The promise has settled and `next` has been called or is missing: a warning is all that is left. Node throws for
      // a warning that is neither an Error nor a string.
      process.emitWarning(error instanceof Error ? error : wrapped(error));
    }
  }

  /** Settles the promise. Errors go to `next`, in one call; without `next` the promise rejects. */
  settle(): void {
    const errors = this.#errors;
    this.#state = errors === undefined ? "succeeded" : "failed";
    if (errors === undefined) return this.#resolve();
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the application's own, whatever it is
    if (this.#next === undefined) return this.#resolve(Promise.reject(forNext(errors)));
    this.#pass(this.#next, forNext(errors));
    this.#resolve();
  }

  #pass(next: NextFunction, error: object): void {
    try {
      next(error);
    } catch (thrown) {
      // Thrown after this call has returned, because its caller may still have other streams to serve.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}

/** Makes one error for `next`. Only an object is passed as it is: `next("route")` and `next()` mean something else. */
function forNext(errors: readonly unknown[]): object {
  const [error] = errors;
  if (errors.length > 1)
    return new AggregateError(errors, "An event stream failed, and so did a hook that was called because of it.");
  return typeof error === "object" && error !== null ? error : wrapped(error);
}

function wrapped(error: unknown): Error {
  return new Error(`An event stream failed: ${show(error)} was thrown.`, { cause: error });
}
