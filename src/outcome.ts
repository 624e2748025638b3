import type { Request, Response } from "express";
import { announce } from "./diagnostics.js";
import type { EventStream } from "./event-stream.js";
import type { CloseReason, Settings, StreamSummary } from "./options.js";

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

  opened(): void {
    announce("open", { request: this.#request, response: this.#response });
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
    const summary: StreamSummary = { reason: this.reason, ...(this.reason === "error" ? { error: this.#error } : {}), ...figures };
    try {
      this.#settings.onClose?.(summary);
    } catch (error) {
      this.unhandled.push(error);
    }
    announce("close", { request: this.#request, response: this.#response, summary });
  }
}
