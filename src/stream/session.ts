import { AsyncResource } from "node:async_hooks";
import type { NextFunction, Request, Response } from "express";
import { announce } from "./diagnostics.js";
import { type EventStream, LiveEventStream } from "../source/event-stream.js";
import type { Settings } from "../options.js";
import { Outcome, settle } from "./outcome.js";
import { type Pump, pumpOf, type Sink } from "../source/pump.js";
import { Connection, type ConnectionEvents } from "../response/connection.js";
import { endWithoutContent } from "../response/head.js";
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
 *        '-------- nothing to send, a failure, nobody there ---------------------------------------^
 *
 * Timers, sockets and brokers call from the middle of other requests; hooks and source run as part of this one
 * (AsyncLocalStorage), which is what makes a session an AsyncResource.
 */
export class Session extends AsyncResource implements Sink, SenderEvents, ConnectionEvents, ShutdownEvents {
  readonly #settings: Settings;
  readonly #req: Request;
  readonly #res: Response;
  readonly #next: NextFunction;
  readonly #over: () => void;
  readonly #connection: Connection;
  readonly #sender: Sender;
  readonly #shutdown: Shutdown;
  readonly #ended = new LazySignal();
  readonly #stream: EventStream;

  #state: "starting" | "open" | "ending" | "closed" = "starting";
  #pump: Pump | undefined;
  /** Made when the end comes. */
  #lazyOutcome: Outcome | undefined;

  /** `over` is called once, when nothing of the stream is left, after `next` for what nobody has handled. */
  constructor(settings: Settings, req: Request, res: Response, next: NextFunction, over: () => void) {
    super("EventStream");
    this.#settings = settings;
    this.#req = req;
    this.#res = res;
    this.#next = next;
    this.#over = over;
    this.#connection = new Connection(req, res, settings.sendTimeout, this);
    this.#sender = new Sender(res, settings, this.#connection.writer, this);
    this.#shutdown = new Shutdown(req.socket, settings, this);
    this.#stream = new LiveEventStream(this.#ended, this.#shutdown, lastEventId(req), res);
  }

  run(open: OpenSource): void {
    if (this.#shutdown.hasBegun) return this.end("shutdown");
    this.#shutdown.wait();
    try {
      const source = open(this.#req, this.#stream);
      if (isThenable(source))
        Promise.resolve(source)
          .then((made) => this.#read(made))
          .catch((error: unknown) => this.failed(error));
      else this.#read(source);
    } catch (error) {
      this.failed(error);
    }
  }

  get #outcome(): Outcome {
    return (this.#lazyOutcome ??= new Outcome(this.#req, this.#res, this.#settings));
  }

  get #isRunning(): boolean {
    return this.#state === "starting" || this.#state === "open";
  }

  // ---- the source ----

  #read(source: unknown): void {
    const pump = source === null || source === undefined ? undefined : pumpOf(readSource(source), this);
    if (this.#state !== "starting") {
      // The client left while the source was being made.
      pump?.stop();
    } else if (pump === undefined) {
      this.ended();
    } else {
      this.#pump = pump;
      pump.run();
      // After the source has been asked: it is to have a whole turn.
      afterOneTurn(() => this.#openIdle());
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
    this.#outcome.failed(error);
    if (this.#state === "starting") {
      this.#outcome.unhandled.push(error);
      return this.#close();
    }
    this.#state = "ending";
    const isTold = this.runInAsyncScope(() =>
      this.#outcome.tellClient(this.#stream, (event) => this.#sender.sendLast(event)),
    );
    this.#letGo();
    if (isTold) this.#connection.end();
    else this.#connection.cutSoon();
  }

  /** The response itself failed, or something that wraps it: nothing more can be sent. */
  broken(error: unknown): void {
    if (this.#state === "closed") return;
    this.runInAsyncScope(() => this.#outcome.failed(error));
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
    this.#connection.close();
    this.runInAsyncScope(() => {
      const figures = this.#sender.figures();
      if (figures !== undefined) this.#outcome.closed(figures);
      settle(this.#outcome.unhandled, this.#next, this.#over);
    });
  }
}
