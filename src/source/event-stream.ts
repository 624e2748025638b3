import type { Request, Response } from "express";
import type { AbortSource, LazySignal } from "../runtime/lazy-signal.js";

/** One stream, as its source function sees it. */
export interface EventStream {
  /**
   * Aborts when nothing more can be sent: the client left, time is up, the server closed. Its
   * `reason` is the {@link CloseReason}. Hand it to whatever the source waits for: a generator that
   * waits on something else cannot be ended before that has come.
   */
  readonly signal: AbortSignal;
  /** Aborts when the server begins to close: for `shutdownGracePeriod` a farewell can still be sent. */
  readonly shutdown: AbortSignal;
  /**
   * The `id` of the last event that the client got before it lost its connection: the request's
   * header `Last-Event-ID`, decoded as UTF-8. `undefined` where there is none, or an empty one. It
   * is the client's word: check it like any other input.
   */
  readonly lastEventId: string | undefined;
  /** Express's response, for what the application keeps there (`response.locals`). Do not write to it. */
  readonly response: Response;
}

/** Makes the source of one request. */
export type OpenSource = (req: Request, stream: EventStream) => unknown;

/**
 * The properties are the object's own, so that `{ ...stream, from: "start" }` has them all; the accessors are the same
 * functions for every stream, or each would weigh as much as a class of its own.
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
    // One by one: `defineProperties` takes twice as long.
    Object.defineProperty(this, "signal", LiveEventStream.#signalAccessor);
    Object.defineProperty(this, "shutdown", LiveEventStream.#shutdownAccessor);
  }

  /**
   * What ends `stream`, for a listener that needs no AbortSignal. A copy (`{ ...stream }`) has an ordinary signal only.
   */
  static endOf(this: void, stream: object): AbortSource | undefined {
    return #ended in stream ? stream.#ended : undefined;
  }
}
