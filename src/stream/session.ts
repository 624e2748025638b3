import { AsyncResource } from "node:async_hooks";
import type { NextFunction, Request, Response } from "express";
import { announce } from "../runtime/diagnostics.js";
import { nothingReturned } from "../errors.js";
import { type EventStream, LiveEventStream, type OpenSource } from "../source/event-stream.js";
import { HandlerResult, type Resolve } from "./handler-result.js";
import type { Settings } from "../options.js";
import { Outcome } from "./outcome.js";
import { type Pump, type PumpEvents, pumpOf } from "../source/pump.js";
import { Connection } from "../response/connection.js";
import { lastEventId } from "../response/last-event-id.js";
import type { StreamEvents } from "../response/stream-events.js";
import { LazySignal } from "../runtime/lazy-signal.js";
import { Shutdown } from "./shutdown.js";
import { afterOneTurn } from "../runtime/turn.js";
import { Sender } from "./sender.js";
import { isThenable, readSource } from "../source/readers.js";

/** The default of `retry` for a client of a closing server: about what browsers use by themselves. */
const retryOfClosingServer = 3_000;

/**
 * The life of one stream, from the request to its last byte, and the one place where its end is decided.
 *
 *     starting --first item, or one turn--> open --end, error---> ending --all taken, or cut--> closed
 *        |'-- HEAD, nothing to send -----------------------------------^                           ^
 *        '--- a failure, no client -----------------------------------------------------------------'
 *
 * Timers, sockets and brokers call in the async context of other requests. A session is an AsyncResource, so that hooks
 * and the source run in the context of their own request (AsyncLocalStorage).
 */
export class Session extends AsyncResource implements PumpEvents, StreamEvents {
  readonly #settings: Settings;
  readonly #req: Request;
  readonly #next: NextFunction | undefined;
  readonly #resolve: Resolve;
  readonly #connection: Connection;
  readonly #sender: Sender;
  readonly #shutdown: Shutdown;
  readonly #ended = new LazySignal();
  readonly #stream: EventStream;

  #state: "starting" | "open" | "ending" | "closed" = "starting";
  #pump: Pump | undefined;
  /** Made when the end comes. */
  #lazyOutcome: Outcome | undefined;

  /** `resolve` settles the handler's promise, when the stream has closed. */
  constructor(settings: Settings, req: Request, res: Response, next: NextFunction | undefined, resolve: Resolve) {
    super("EventStream");
    this.#settings = settings;
    this.#req = req;
    this.#next = next;
    this.#resolve = resolve;
    this.#connection = new Connection(req, res, settings.sendTimeout, this);
    this.#sender = new Sender(settings, this.#connection, this);
    this.#shutdown = new Shutdown(req.socket, settings, this);
    this.#stream = new LiveEventStream(this.#ended, this.#shutdown, lastEventId(req), res);
  }

  run(open: OpenSource): void {
    try {
      this.#connection.assertHeadIsUnsent();
      if (this.#connection.isClientGone) return this.#close();
      if (this.#req.method === "HEAD") return this.#answerWithoutBody();
      if (this.#shutdown.hasBegun) return this.#end("shutdown");
      this.#shutdown.wait();
      const source = open(this.#req, this.#stream);
      if (!isThenable(source)) return this.#read(source);
      Promise.resolve(source)
        .then((made) => this.#read(made))
        .catch((error: unknown) => this.onError(error));
    } catch (error) {
      this.onError(error);
    }
  }

  get #outcome(): Outcome {
    return (this.#lazyOutcome ??= new Outcome(
      this.#req,
      this.#stream.response,
      this.#settings,
      new HandlerResult(this.#next, this.#resolve),
    ));
  }

  get #isRunning(): boolean {
    return this.#state === "starting" || this.#state === "open";
  }

  // ---- the source ----

  #read(source: unknown): void {
    if (source === null || source === undefined) return this.#readNothing(source);
    const pump = pumpOf(readSource(source), this, this.#sender);
    // The client may have left while the source was being made.
    if (this.#state !== "starting") return pump.release();
    this.#pump = pump;
    this.#connection.assertHeadIsUnsent();
    pump.run();
    // Scheduled after the first item has been asked for, so that the source has a whole turn of the event loop.
    afterOneTurn(() => this.#openIdle());
  }

  #readNothing(source: null | undefined): void {
    if (this.#state !== "starting") return;
    // The application's function or generator has answered the request itself, for example with a 401.
    if (this.#connection.isHeadSent) this.#close();
    else if (source === undefined) this.onError(nothingReturned());
    else this.#answerWithoutBody(204);
  }

  onEnd(): void {
    if (this.#shutdown.hasBegun) this.#end("shutdown");
    else if (this.#state === "starting") this.#readNothing(null);
    else this.#end("completed");
  }

  // ---- the head ----

  #openIdle(): void {
    // A generator that has answered by itself may still have to finish. An item from it would be an error.
    if (this.#state === "starting" && !this.#connection.isHeadSent) this.#sender.open();
    // A first item without bytes may have opened the stream without sending the head.
    if (this.#state === "open") this.#connection.flushHead();
  }

  onOpen(): void {
    if (this.#state !== "starting") return;
    this.#state = "open";
    announce("open", { request: this.#req, response: this.#stream.response });
  }

  /** Answers with a 204 because there is nothing to stream, or answers a HEAD request with the head of a stream. */
  #answerWithoutBody(status?: 204): void {
    if (status === 204) this.#connection.setHeadWithoutContent(this.#settings);
    else this.#connection.setHead(this.#settings);
    if (this.#shutdown.hasBegun) this.#connection.disableKeepAlive();
    this.#state = "ending";
    this.#connection.end();
  }

  // ---- the end ----

  onTimeUp(reason: "expired" | "shutdown"): void {
    this.#end(reason);
  }

  /** Ends the stream, unless it is ending already: the first reason counts, and a later one changes nothing. */
  #end(reason: "completed" | "expired" | "shutdown"): void {
    if (!this.#isRunning) return;
    if (this.#state === "starting") {
      if (this.#connection.isHeadSent) return this.#close();
      this.#connection.disableKeepAlive();
      this.#sender.open(retryOfClosingServer);
      if (!this.#isRunning) return;
    }
    this.#state = "ending";
    this.#outcome.reason = reason;
    if (reason !== "completed") this.#releaseSource();
    this.#connection.end();
  }

  onError(error: unknown): void {
    if (!this.#isRunning) return;
    this.#outcome.fail(error);
    if (this.#state === "starting") {
      this.#outcome.passOn();
      if (this.#shutdown.hasBegun) this.#connection.disableKeepAlive();
      return this.#close();
    }
    this.#state = "ending";
    const isTold = this.runInAsyncScope(() =>
      this.#outcome.tellClient(this.#stream, (event) => this.#sender.sendLast(event)),
    );
    this.#releaseSource();
    if (isTold) this.#connection.end();
    else this.#connection.abortAfterWrites();
  }

  onResponseError(error: unknown): void {
    if (this.#state === "closed") return;
    this.runInAsyncScope(() => this.#outcome.fail(error));
    this.#outcome.passOn();
    this.#connection.abortUnfinished();
    this.#close();
  }

  onFinish(): void {
    if (this.#shutdown.hasBegun) this.#connection.endSocket();
    this.#close();
  }

  /** The client missed data, so even a stream whose source has ended is not `completed`. */
  onClientLost(reason: "disconnected" | "timeout" | "shutdown"): void {
    if (this.#outcome.reason === "completed") this.#outcome.reason = reason;
    if (reason !== "disconnected") this.#connection.abort();
    // If the application has ended the response itself, the connection would be kept alive.
    else if (this.#shutdown.hasBegun) this.#connection.endSocket();
    this.#close();
  }

  /** Tells the source that the stream is over. It is not awaited, because it may be waiting for something itself. */
  #releaseSource(): void {
    if (this.#ended.aborted) return;
    this.#sender.release();
    this.runInAsyncScope(() => {
      this.#ended.abort(this.#outcome.reason);
      this.#pump?.release();
    });
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#releaseSource();
    this.#shutdown.release();
    this.#connection.release();
    this.runInAsyncScope(() => {
      this.#outcome.attempt(() => this.#connection.endUnread());
      this.#outcome.settle(this.#sender.figures());
    });
  }
}
