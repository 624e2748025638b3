import type { Request, Response } from "express";
import { announce } from "../runtime/diagnostics.js";
import type { HandlerResult } from "./handler-result.js";
import type { EventStream } from "../source/event-stream.js";
import type { CloseReason, Settings, StreamSummary } from "../options.js";
import type { Figures } from "./sender.js";
import { isThenable } from "../source/readers.js";

/**
 * How one stream ends, and how the application hears of it: `onError`, `onClose`, `next` and the diagnostics channels.
 */
export class Outcome {
  /** `completed` until something else ends the stream, or the client does not take the rest. */
  reason: CloseReason = "completed";

  readonly #request: Request;
  readonly #response: Response;
  readonly #settings: Settings;
  readonly #result: HandlerResult;
  #error: unknown;

  constructor(request: Request, response: Response, settings: Settings, result: HandlerResult) {
    this.#request = request;
    this.#response = response;
    this.#settings = settings;
    this.#result = result;
  }

  fail(error: unknown): void {
    this.reason = "error";
    this.#error = error;
    announce("error", { request: this.#request, response: this.#response, error });
  }

  /** Passes the error to `next`. */
  passOn(): void {
    this.#result.fail(this.#error);
  }

  /** Sends the event of `onError` through `tell`. If there is none, or it cannot be sent, the error goes to `next`. */
  tellClient(stream: EventStream, tell: (event: object) => boolean): boolean {
    try {
      const event: unknown = this.#settings.onError?.(this.#error, stream);
      if (isThenable(event)) this.#watch(event);
      else if (event !== undefined && event !== null && tell(event)) return true;
      this.passOn();
    } catch (thrown) {
      this.passOn();
      this.#result.fail(thrown);
    }
    return false;
  }

  /** Settles the handler's promise. `onClose` and the diagnostics channel are told first, if the stream was opened. */
  settle(figures: Figures | undefined): void {
    if (figures !== undefined) this.#summarize(figures);
    this.#result.settle();
  }

  #summarize(figures: Figures): void {
    const { reason } = this;
    const summary: StreamSummary =
      reason === "error" ? { reason, error: this.#error, ...figures } : { reason, ...figures };
    this.attempt(() => {
      const returned: unknown = this.#settings.onClose?.(summary);
      if (isThenable(returned)) this.#watch(returned);
    });
    announce("close", { request: this.#request, response: this.#response, summary });
  }

  /** Runs one step of the ending. If it throws, the error is recorded and the other steps still run. */
  attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#result.fail(error);
    }
  }

  /** A hook's promise is not awaited, but its rejection must not end the process. */
  #watch(returned: PromiseLike<unknown>): void {
    returned.then(undefined, (error: unknown) => this.#result.fail(error));
  }
}
