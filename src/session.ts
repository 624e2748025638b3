import { AsyncResource } from "node:async_hooks";
import type { Request, Response } from "express";
import { type EventStream, LiveEventStream } from "./event-stream.js";
import type { Feed } from "./feed.js";
import type { Settings } from "./options.js";
import { Outcome } from "./outcome.js";
import { type Outlet, pump, type Sink } from "./pump.js";
import { Connection, type ConnectionEvents } from "./response/connection.js";
import { endWithoutContent } from "./response/head.js";
import { lastEventId } from "./response/last-event-id.js";
import { LazySignal } from "./lazy-signal.js";
import { Shutdown, type ShutdownEvents } from "./response/shutdown.js";
import { inNextTurn } from "./response/turn.js";
import { Sender, type SenderEvents } from "./sender.js";
import { isThenable, readSource, type SourceReader } from "./source.js";

/** Makes the source of one request. */
export type OpenSource = (req: Request, stream: EventStream) => unknown;

/** What a client is told to wait before it comes back to a server that is closing: about what browsers do by themselves. */
const defaultRetry = 3_000;

/**
 * The life of one stream, from the request to its last byte, and the one place where its end is decided.
 *
 *     starting --first item, or one turn--> open --end, failed--> ending --all taken, or cut--> closed
 *        '-------- nothing to send, a failure, nobody there ---------------------------------------^
 */
export class Session implements Sink, SenderEvents, ConnectionEvents, ShutdownEvents {
  readonly #req: Request;
  readonly #res: Response;
  readonly #settings: Settings;
  readonly #outcome: Outcome;
  readonly #connection: Connection;
  readonly #sender: Sender;
  readonly #shutdown: Shutdown;
  readonly #ended = new LazySignal();
  /** Timers, sockets and brokers call from the middle of other requests: hooks and source run as part of this one (AsyncLocalStorage). */
  readonly #scope = new AsyncResource("EventStream");
  readonly #stream: EventStream;
  readonly #done: (errors: unknown[]) => void;

  #state: "starting" | "open" | "ending" | "closed" = "starting";

  #reader: SourceReader | Feed<unknown> | undefined;
  readonly #outlet: Outlet = { sink: this };

  /** `done` is called once, when nothing of the stream is left, with the errors that nobody has handled. */
  constructor(req: Request, res: Response, settings: Settings, done: (errors: unknown[]) => void) {
    this.#req = req;
    this.#res = res;
    this.#settings = settings;
    this.#outcome = new Outcome(req, res, settings);
    this.#done = done;
    this.#connection = new Connection(req, res, settings.sendTimeout, this);
    this.#sender = new Sender(res, settings, this.#connection.writer, this.#scope, this);
    this.#shutdown = new Shutdown(req.socket, settings, this);
    this.#stream = new LiveEventStream(this.#ended, this.#shutdown, lastEventId(req), res);
  }

  run(open: OpenSource): void {
    if (this.#shutdown.hasBegun) return this.end("shutdown");
    this.#shutdown.wait();
    try {
      const source = open(this.#req, this.#stream);
      if (isThenable(source)) Promise.resolve(source).then((made) => this.#read(made)).catch((error: unknown) => this.failed(error));
      else this.#read(source);
    } catch (error) {
      this.failed(error);
    }
  }

  get #isRunning(): boolean {
    return this.#state === "starting" || this.#state === "open";
  }

  // ---- the source ----

  #read(source: unknown): void {
    const reader = source === null || source === undefined ? undefined : readSource(source);
    if (this.#state !== "starting") {
      // The client left while the source was being made.
      void reader?.return();
    } else if (reader === undefined) {
      this.ended();
    } else {
      this.#reader = reader;
      pump(reader, this.#outlet, this.#scope);
      // After the source has been asked: it is to have a whole turn.
      inNextTurn(() => this.#openIdle());
    }
  }

  send(item: unknown): Promise<void> | undefined {
    const frame = this.#sender.frameOf(item);
    if (this.#state === "starting") this.#open(this.#settings.retry);
    return this.#isRunning ? this.#sender.send(frame) : undefined;
  }

  /** The source has ended. */
  ended(): void {
    if (this.#state === "starting" && this.#res.headersSent) {
      // The source's function has answered by itself, with a 401 for example.
      this.#close();
    } else if (this.#shutdown.hasBegun) {
      this.end("shutdown");
    } else if (this.#state === "open") {
      this.end("completed");
    } else {
      endWithoutContent(this.#res, this.#settings.headers);
      this.#close();
    }
  }

  // ---- the head ----

  #openIdle(): void {
    if (this.#state === "starting" && this.#open(this.#settings.retry)) this.#connection.writer.flushHead();
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
    this.#outcome.opened();
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
    this.#connection.writer.end();
  }

  /** The source, an item or a hook failed. */
  failed(error: unknown): void {
    if (!this.#isRunning) return;
    this.#outcome.failed(error);
    if (this.#state === "starting") {
      this.#outcome.unhandled.push(error);
      return this.#close();
    }
    this.#state = "ending";
    const isTold = this.#scope.runInAsyncScope(() => this.#outcome.tellClient(this.#stream, (event) => this.#sender.sendLast(event)));
    this.#letGo();
    if (isTold) this.#connection.writer.end();
    else this.#connection.cutSoon();
  }

  /** The response itself failed, or something that wraps it: nothing more can be sent. */
  broken(error: unknown): void {
    if (this.#state === "closed") return;
    this.#outcome.failed(error);
    this.#outcome.unhandled.push(error);
    // Where nothing has left, or somebody else has ended it, there is an answer that may still arrive.
    if (this.#res.headersSent && !this.#res.writableEnded) this.#connection.cut();
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
    if (reason !== "disconnected") this.#connection.cut();
    this.#close();
  }

  /** Lets the source go. It may be waiting for anything: it is told, and not waited for. */
  #letGo(): void {
    this.#outlet.sink = undefined;
    this.#sender.stop();
    this.#scope.runInAsyncScope(() => {
      this.#ended.abort(this.#outcome.reason);
      void this.#reader?.return();
    });
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#letGo();
    this.#shutdown.stop();
    this.#connection.close();
    const figures = this.#sender.figures();
    this.#scope.runInAsyncScope(() => {
      if (figures !== undefined) this.#outcome.closed(figures);
      this.#done(this.#outcome.unhandled);
    });
  }
}
