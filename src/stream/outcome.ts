import type { NextFunction, Request, Response } from "express";
import { announce } from "./diagnostics.js";
import { show } from "../errors.js";
import type { EventStream } from "../source/event-stream.js";
import type { CloseReason, Settings, StreamSummary } from "../options.js";

/** How one stream ends, and what the application is told of it: through `onError`, `onClose`, `next` and the diagnostics channels. */
export class Outcome {
  /** Completed, until something else ends it or the client fails to take the rest. */
  reason: CloseReason = "completed";
  /** The errors that nobody has handled, for `next`. */
  readonly unhandled: unknown[] = [];

  readonly #request: Request;
  readonly #response: Response;
  readonly #settings: Settings;
  #error: unknown;

  constructor(request: Request, response: Response, settings: Settings) {
    this.#request = request;
    this.#response = response;
    this.#settings = settings;
  }

  failed(error: unknown): void {
    this.reason = "error";
    this.#error = error;
    announce("error", { request: this.#request, response: this.#response, error });
  }

  /** Gives `tell` the event that `onError` has for the client; where there is none, or it cannot be told, the error is left for `next`. */
  tellClient(stream: EventStream, tell: (event: object) => boolean): boolean {
    try {
      const event = this.#settings.onError?.(this.#error, stream);
      if (event !== undefined && event !== null && tell(event)) return true;
      this.unhandled.push(this.#error);
    } catch (thrown) {
      this.unhandled.push(this.#error, thrown);
    }
    return false;
  }

  closed(figures: { events: number; bytes: number; duration: number }): void {
    const { reason } = this;
    const summary: StreamSummary =
      reason === "error" ? { reason, error: this.#error, ...figures } : { reason, ...figures };
    try {
      this.#settings.onClose?.(summary);
    } catch (error) {
      this.unhandled.push(error);
    }
    announce("close", { request: this.#request, response: this.#response, summary });
  }
}

/** Hands the errors that nobody has handled to `next`, and says that the stream is over. */
export function settle(errors: unknown[], next: NextFunction, over: () => void): void {
  try {
    if (errors.length > 0) next(forNext(errors));
  } catch (error) {
    // Not here, where other streams may be waiting for their turn.
    queueMicrotask(() => {
      throw error;
    });
  }
  over();
}

/** One error for `next`, which is called once. What is no object is wrapped: `next("route")` and `next()` mean something else. */
function forNext(errors: unknown[]): object {
  const [error] = errors;
  if (errors.length > 1)
    return new AggregateError(errors, "An event stream failed, and so did a hook that was called because of it.");
  return typeof error === "object" && error !== null
    ? error
    : new Error(`An event stream failed: ${show(error)} was thrown.`, { cause: error });
}
