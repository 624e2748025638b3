import { AsyncResource } from "node:async_hooks";
import type { Request, Response } from "express";
import { announce } from "../runtime/diagnostics.js";
import { headersSent, nothingReturned } from "../errors.js";
import { type EventStream, LiveEventStream } from "../source/event-stream.js";
import type { HandlerResult } from "./handler-result.js";
import type { Settings } from "../options.js";
import { Outcome } from "./outcome.js";
import { type Pump, pumpOf, type Sink } from "../source/pump.js";
import { isClientGone } from "../response/client-gone.js";
import { Connection, type ConnectionEvents } from "../response/connection.js";
import { setHead, setHeadWithoutContent } from "../response/head.js";
import { lastEventId } from "../response/last-event-id.js";
import { LazySignal } from "../runtime/lazy-signal.js";
import { Shutdown, type ShutdownEvents } from "./shutdown.js";
import { afterOneTurn } from "../runtime/turn.js";
import { Sender, type SenderEvents } from "./sender.js";
import { isThenable, readSource } from "../source/readers.js";

/** Makes the source of one request. */
export type OpenSource = (req: Request, stream: EventStream) => unknown;

/** What a client is told to wait before it comes back to a server that is closing: about what browsers do by themselves. */
const defaultRetry = 3_000;

/**
 * The life of one stream, from the request to its last byte, and the one place where its end is decided.
 *
 *     starting --first item, or one turn--> open --end, failed--> ending --all taken, or cut--> closed
 *        |'-- HEAD, nothing to send -----------------------------------^                           ^
 *        '--- a failure, nobody there --------------------------------------------------------------'
 *
 * Timers, sockets and brokers call from the middle of other requests; hooks and source run as part of this one
 * (AsyncLocalStorage), which is what makes a session an AsyncResource.
 */
export class Session extends AsyncResource implements Sink, SenderEvents, ConnectionEvents, ShutdownEvents {
  readonly #settings: Settings;
  readonly #req: Request;
  readonly #res: Response;
  readonly #result: HandlerResult;
  readonly #connection: Connection;
  readonly #sender: Sender;
  readonly #shutdown: Shutdown;
  readonly #ended = new LazySignal();
  readonly #stream: EventStream;

  #state: "starting" | "open" | "ending" | "closed" = "starting";
  #pump: Pump | undefined;
  /** Made when the end comes. */
  #lazyOutcome: Outcome | undefined;

  /** `result` is settled once, when nothing of the stream is left. */
  constructor(settings: Settings, req: Request, res: Response, result: HandlerResult) {
    super("EventStream");
    this.#settings = settings;
    this.#req = req;
    this.#res = res;
    this.#result = result;
    this.#connection = new Connection(req, res, settings.sendTimeout, this);
    this.#sender = new Sender(res, settings, this.#connection.writer, this);
    this.#shutdown = new Shutdown(req.socket, settings, this);
    this.#stream = new LiveEventStream(this.#ended, this.#shutdown, lastEventId(req), res);
  }

  run(open: OpenSource): void {
    try {
      if (this.#res.headersSent) throw headersSent();
      if (isClientGone(this.#req, this.#res)) return this.#close();
      if (this.#req.method === "HEAD") return this.#answerWithHead(setHead);
      if (this.#shutdown.hasBegun) return this.end("shutdown");
      this.#shutdown.wait();
      const source = open(this.#req, this.#stream);
      if (!isThenable(source)) return this.#read(source);
      Promise.resolve(source)
        .then((made) => this.#read(made))
        .catch((error: unknown) => this.failed(error));
    } catch (error) {
      this.failed(error);
    }
  }

  get #outcome(): Outcome {
    return (this.#lazyOutcome ??= new Outcome(this.#req, this.#res, this.#settings, this.#result));
  }

  get #isRunning(): boolean {
    return this.#state === "starting" || this.#state === "open";
  }

  // ---- the source ----

  #read(source: unknown): void {
    if (source === null || source === undefined) return this.#readNothing(source);
    const pump = pumpOf(readSource(source), this, this.#sender);
    // The client may have left while the source was being made.
    if (this.#state !== "starting") return pump.stop();
    this.#pump = pump;
    if (this.#res.headersSent) return this.failed(headersSent());
    pump.run();
    // After the source has been asked: it is to have a whole turn.
    afterOneTurn(() => this.#openIdle());
  }

  #readNothing(source: null | undefined): void {
    if (this.#state !== "starting") return;
    // The source's function has answered by itself, with a 401 for example.
    if (this.#res.headersSent) this.#close();
    else if (source === undefined) this.failed(nothingReturned());
    else this.#answerWithHead(setHeadWithoutContent);
  }

  send(item: unknown): void {
    const frame = this.#sender.frameOf(item);
    if (this.#state === "starting") this.#open(this.#settings.retry);
    if (this.#isRunning) this.#sender.send(frame);
  }

  /** The source has ended. */
  ended(): void {
    if (this.#shutdown.hasBegun) this.end("shutdown");
    else if (this.#state === "starting") this.#answerWithHead(setHeadWithoutContent);
    else this.end("completed");
  }

  // ---- the head ----

  #openIdle(): void {
    if (this.#state === "starting") this.#open(this.#settings.retry);
    // A first item without a byte has not taken the head along.
    if (this.#state === "open" && !this.#res.headersSent) this.#connection.writer.flushHead();
  }

  /** Answers with a head that is the whole answer. */
  #answerWithHead(set: typeof setHead): void {
    set(this.#res, this.#settings);
    if (this.#shutdown.hasBegun) this.#res.setHeader("Connection", "close");
    this.#state = "ending";
    this.#connection.end();
  }

  /** Opens the stream; where that fails, the stream has ended. */
  #open(retry: Settings["retry"]): boolean {
    try {
      this.#sender.open(retry);
    } catch (error) {
      this.failed(error);
      return false;
    }
    if (this.#state !== "starting") return false;
    this.#state = "open";
    announce("open", { request: this.#req, response: this.#res });
    return true;
  }

  // ---- the end ----

  /** Ends a stream that runs, for the first reason that is given: a later one changes nothing. */
  end(reason: "completed" | "expired" | "shutdown"): void {
    if (!this.#isRunning) return;
    if (this.#state === "starting") {
      if (this.#res.headersSent) return this.#close();
      this.#res.setHeader("Connection", "close");
      if (!this.#open(this.#settings.retry ?? defaultRetry)) return;
    }
    this.#state = "ending";
    this.#outcome.reason = reason;
    if (reason !== "completed") this.#letGo();
    this.#connection.end();
  }

  /** The source, an item or a hook failed. */
  failed(error: unknown): void {
    if (!this.#isRunning) return;
    this.#outcome.fail(error);
    if (this.#state === "starting") {
      this.#outcome.passOn();
      if (this.#shutdown.hasBegun && !this.#res.headersSent) this.#res.setHeader("Connection", "close");
      return this.#close();
    }
    this.#state = "ending";
    const isTold = this.runInAsyncScope(() =>
      this.#outcome.tellClient(this.#stream, (event) => this.#sender.sendLast(event)),
    );
    this.#letGo();
    if (isTold) this.#connection.end();
    else this.#connection.abortSoon();
  }

  /** The response itself failed, or something that wraps it: nothing more can be sent. */
  broken(error: unknown): void {
    if (this.#state === "closed") return;
    this.runInAsyncScope(() => this.#outcome.fail(error));
    this.#outcome.passOn();
    // Where nothing has left, or somebody else has ended it, there is an answer that may still arrive.
    if (this.#res.headersSent && !this.#res.writableEnded) this.#connection.abort();
    this.#close();
  }

  /** Everything has been handed over. */
  finished(): void {
    if (this.#shutdown.hasBegun) this.#connection.hangUp();
    this.#close();
  }

  /** Gives up a client that left or takes nothing: what it did not get makes even a source that ended no completed stream. */
  lose(reason: "disconnected" | "timeout" | "shutdown"): void {
    if (this.#outcome.reason === "completed") this.#outcome.reason = reason;
    if (reason !== "disconnected") this.#connection.abort();
    // Where somebody else has ended the response, the connection is still there.
    else if (this.#shutdown.hasBegun) this.#connection.hangUp();
    this.#close();
  }

  /** Lets the source go. It may be waiting for anything: it is told, and not waited for. */
  #letGo(): void {
    if (this.#ended.aborted) return;
    this.#sender.stop();
    this.runInAsyncScope(() => {
      this.#ended.abort(this.#outcome.reason);
      this.#pump?.stop();
    });
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#letGo();
    this.#shutdown.stop();
    this.#connection.release();
    this.runInAsyncScope(() => {
      try {
        this.#connection.endUnread();
      } catch (error) {
        this.#result.fail(error);
      }
      if (this.#sender.hasOpened) this.#outcome.close(this.#sender.figures());
      this.#result.settle();
    });
  }
}
