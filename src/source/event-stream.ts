import type { Request, Response } from "express";
import type { AbortSource, LazySignal } from "../runtime/lazy-signal.js";

/** One stream, as its source function sees it. */
export interface EventStream {
  /**
   * Aborts when nothing more can be sent: the client left, time is up, the server closed. Its
   * `reason` is the {@link CloseReason}. Pass it to everything that the source awaits: a generator
   * cannot be ended while it waits for something that ignores the signal.
   */
  readonly signal: AbortSignal;
  /** Aborts when the server begins to close. The source can still send a farewell for `shutdownGracePeriod`. */
  readonly shutdown: AbortSignal;
  /**
   * The `id` of the last event that the client got before it lost its connection: the request's
   * header `Last-Event-ID`, decoded as UTF-8. `undefined` if the header is missing or empty.
   * It comes from the client: check it like any other input.
   */
  readonly lastEventId: string | undefined;
  /** Express's response, for reading what the application keeps in `response.locals`. Do not write to it. */
  readonly response: Response;
}

/** Makes the source of one request. */
export type OpenSource = (req: Request, stream: EventStream) => unknown;

/**
 * All properties are own properties, so that a copy such as `{ ...stream, from: "start" }` has them too. All streams
 * share the accessor functions; with its own ones, each stream would take as much memory as a class.
 */
export class LiveEventStream implements EventStream {
  declare readonly signal: AbortSignal;
  declare readonly shutdown: AbortSignal;
  readonly lastEventId: string | undefined;
  readonly response: Response;
  readonly #ended: LazySignal;
  readonly #shutdown: LazySignal;

  static readonly #signalAccessor: PropertyDescriptor & ThisType<LiveEventStream> = {
    enumerable: true,
    get() {
      return this.#ended.signal;
    },
  };

  static readonly #shutdownAccessor: PropertyDescriptor & ThisType<LiveEventStream> = {
    enumerable: true,
    get() {
      return this.#shutdown.signal;
    },
  };

  constructor(ended: LazySignal, shutdown: LazySignal, lastEventId: string | undefined, response: Response) {
    this.#ended = ended;
    this.#shutdown = shutdown;
    this.lastEventId = lastEventId;
    this.response = response;
    // Two calls, because one `defineProperties` takes twice as long.
    Object.defineProperty(this, "signal", LiveEventStream.#signalAccessor);
    Object.defineProperty(this, "shutdown", LiveEventStream.#shutdownAccessor);
  }

  /**
   * The abort source of `stream`, for a listener that needs no AbortSignal. `undefined` for a copy (`{ ...stream }`),
   * which has only its ordinary `signal`.
   */
  static endOf(this: void, stream: object): AbortSource | undefined {
    return #ended in stream ? stream.#ended : undefined;
  }
}
