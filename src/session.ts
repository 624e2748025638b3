import type { Request, Response } from "express";
import { diagnostics } from "./diagnostics.js";
import { createEventStream, type EventStream } from "./event-stream.js";
import { checkRetry, encode } from "./format/encode.js";
import { headersSent } from "./errors.js";
import type { CloseReason, Settings, StreamSummary } from "./options.js";
import { onClientGone } from "./response/client-gone.js";
import { endWithoutContent, setHead } from "./response/head.js";
import { lastEventId } from "./response/last-event-id.js";
import { LazySignal } from "./response/lazy-signal.js";
import { every } from "./response/metronome.js";
import { listeningServer, onAborted, onServerClosing } from "./response/shutdown.js";
import { inNextTurn, isTurnSpent, nextTurn } from "./response/turn.js";
import { FrameWriter } from "./response/writer.js";
import { isThenable, readSource, type SourceReader } from "./source.js";

/** Makes the source of one request. */
export type OpenSource = (req: Request, stream: EventStream) => unknown;

/** What a client is told to wait before it comes back to a server that is closing: what browsers do by themselves. */
const defaultRetry = 3_000;

/** How long a client has, at a shutdown, to take what is left for it: with the look at the server, under a second. */
const shutdownLimit = 500;

/** How long `compression` has to hand over what it was given before the connection is cut. */
const compressionLimit = 100;

/**
 * The life of one stream, from the request to its last byte: the one place where its end is decided.
 *
 *     starting --first item, or one turn--> open --#end--> ending --all taken, or cut--> closed
 *        '------ nothing, a failure, or nobody there -----------------------------------^
 */
export class Session {
  readonly #req: Request;
  readonly #res: Response;
  readonly #settings: Settings;
  readonly #writer: FrameWriter;
  readonly #ended = new LazySignal();
  readonly #shutdown = new LazySignal();
  readonly #done: (errors: unknown[]) => void;

  #state: "starting" | "open" | "ending" | "closed" = "starting";
  /** Completed, until something else ends it or the client fails to take the rest. */
  #reason: CloseReason = "completed";
  #error: unknown;
  readonly #unhandled: unknown[] = [];

  #stream: EventStream | undefined;
  #reader: SourceReader | undefined;
  #openedAt: number | undefined;
  #events = 0;
  #isPingDue = false;

  /** What to let go when the source is let go, and when the stream is closed. */
  #whileOpen: (() => void)[] = [];
  #untilClosed: (() => void)[] = [];

  /** `done` is called once, when nothing of the stream is left, with the errors that nobody has handled. */
  constructor(req: Request, res: Response, settings: Settings, done: (errors: unknown[]) => void) {
    this.#req = req;
    this.#res = res;
    this.#settings = settings;
    this.#done = done;
    this.#writer = new FrameWriter(res, settings.sendTimeout, this.#stalled);
  }

  run(open: OpenSource): void {
    const { shutdownSignal, endOnServerClose } = this.#settings;
    this.#listen();
    const server = endOnServerClose ? listeningServer(this.#req.socket) : undefined;
    if (shutdownSignal?.aborted === true || server?.listening === false) {
      this.#shutdown.abort("shutdown");
      this.#end("shutdown");
      return;
    }
    if (server !== undefined) this.#untilClosed.push(onServerClosing(server, this.#beginShutdown));
    if (shutdownSignal !== undefined) this.#untilClosed.push(onAborted(shutdownSignal, this.#beginShutdown));
    try {
      const source = open(this.#req, this.#eventStream());
      if (isThenable(source)) source.then(this.#read, this.#fail);
      else this.#read(source);
    } catch (error) {
      this.#fail(error);
    }
  }

  #eventStream(): EventStream {
    this.#stream ??= createEventStream(this.#ended, this.#shutdown, lastEventId(this.#req), this.#res);
    return this.#stream;
  }

  #listen(): void {
    const res = this.#res;
    res.on("finish", this.#finished);
    res.on("error", this.#fail);
    this.#untilClosed.push(onClientGone(this.#req, res, this.#gone), () => {
      res.off("finish", this.#finished);
      res.off("error", this.#fail);
    });
  }

  // ---- the source ----

  readonly #read = (source: unknown): void => {
    try {
      if (source === null || source === undefined) {
        if (this.#state === "starting") this.#sourceEnded();
        return;
      }
      const reader = readSource(source);
      // The client may have left while the source was being made.
      if (this.#state !== "starting") {
        reader.return();
        return;
      }
      this.#reader = reader;
      this.#whileOpen.push(inNextTurn(this.#open));
      void this.#pump(reader);
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Takes one item after the other, each only when there is room for it. Never rejects. */
  async #pump(reader: SourceReader): Promise<void> {
    const { toEvent, lineEnding, serialize } = this.#settings;
    const writer = this.#writer;
    let isAsking = false;
    try {
      for (;;) {
        isAsking = true;
        const result = await reader.next();
        isAsking = false;
        if (!this.#isRunning) return;
        if (result.done === true) {
          this.#reader = undefined;
          this.#sourceEnded();
          return;
        }
        const item = toEvent === undefined ? result.value : toEvent(result.value as never);
        const frame = item instanceof Uint8Array ? item : encode(item, lineEnding, serialize);
        if (this.#state === "starting") this.#begin();
        this.#events += 1;
        writer.write(frame);
        if (!writer.isWritable) await writer.drained();
        if (this.#isPingDue) this.#ping();
        if (isTurnSpent()) await nextTurn();
        if (!this.#isRunning) return;
      }
    } catch (error) {
      // An iterator that threw has ended by itself.
      if (isAsking) this.#reader = undefined;
      this.#fail(error);
    }
  }

  get #isRunning(): boolean {
    return this.#state === "starting" || this.#state === "open";
  }

  #sourceEnded(): void {
    if (this.#isShuttingDown) this.#end("shutdown");
    else if (this.#state === "open") this.#end("completed");
    else {
      // The source's function may have answered by itself, with a 401 for example.
      if (!this.#res.headersSent) endWithoutContent(this.#res, this.#settings.headers);
      this.#close();
    }
  }

  // ---- the head and the pings ----

  readonly #open = (): void => {
    if (this.#state !== "starting") return;
    try {
      this.#begin();
      if (this.#settings.retry === undefined) this.#res.flushHeaders();
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Prepares the head, which leaves with the first write, and starts what runs beside the source. */
  #begin(): void {
    const { pingInterval, maxDuration } = this.#settings;
    this.#sendHead(this.#settings.retry);
    if (pingInterval) this.#whileOpen.push(every(pingInterval, this.#ping));
    if (maxDuration !== undefined) {
      const timer = setTimeout(() => this.#end("expired"), maxDuration * (0.9 + Math.random() / 10));
      this.#whileOpen.push(() => clearTimeout(timer));
    }
  }

  #sendHead(retry: number | (() => number) | undefined): void {
    const { status, headers, lineEnding, serialize } = this.#settings;
    if (this.#res.headersSent) throw headersSent();
    const delay = typeof retry === "function" ? checkRetry(retry()) : retry;
    setHead(this.#res, status, headers);
    this.#state = "open";
    this.#openedAt = performance.now();
    if (delay !== undefined) this.#writer.write(encode({ retry: delay }, lineEnding, serialize));
    if (diagnostics.open.hasSubscribers) diagnostics.open.publish({ request: this.#req, response: this.#res });
  }

  readonly #ping = (): void => {
    // None piles up on a full socket, and none lands inside a frame: the one that is due follows later.
    this.#isPingDue = !this.#writer.isWritable || this.#writer.isMidFrame;
    if (this.#isPingDue || this.#state !== "open") return;
    const { ping, lineEnding, serialize } = this.#settings;
    try {
      const item = ping();
      this.#writer.write(item instanceof Uint8Array ? item : encode(item, lineEnding, serialize));
    } catch (error) {
      this.#fail(error);
    }
  };

  // ---- the end ----

  /** Ends a stream that runs, for the first reason that is given: a later one changes nothing. */
  #end(reason: "completed" | "expired" | "shutdown"): void {
    if (!this.#isRunning) return;
    try {
      if (this.#state === "starting") {
        this.#res.setHeader("Connection", "close");
        this.#sendHead(this.#settings.retry ?? defaultRetry);
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#state = "ending";
    this.#reason = reason;
    if (reason !== "completed") this.#letGo();
    this.#writer.end();
  }

  readonly #fail = (error: unknown): void => {
    if (!this.#isRunning) return;
    if (diagnostics.error.hasSubscribers) diagnostics.error.publish({ request: this.#req, response: this.#res, error });
    this.#reason = "error";
    this.#error = error;
    if (this.#state === "starting") {
      this.#unhandled.push(error);
      this.#close();
      return;
    }
    this.#state = "ending";
    const farewell = this.#farewell(error);
    this.#letGo();
    if (farewell !== undefined) {
      this.#writer.write(farewell);
      this.#writer.end();
    } else {
      this.#unhandled.unshift(error);
      this.#writer.stop();
      this.#cutSoon();
    }
  };

  /** The frame of the event that `onError` has for the client. An error's own text never gets there by itself. */
  #farewell(error: unknown): string | undefined {
    const { onError, lineEnding, serialize } = this.#settings;
    try {
      const event = onError?.(error, this.#eventStream());
      // After half a frame an event would become part of it.
      if (event === undefined || event === null || this.#writer.isMidFrame) return undefined;
      return encode(event, lineEnding, serialize);
    } catch (thrown) {
      this.#unhandled.push(thrown);
      return undefined;
    }
  }

  /** Cuts the connection, so that the client sees a failure, after what was written before has left. */
  #cutSoon(): void {
    const { socket } = this.#req;
    if (this.#res.socket === null) {
      this.#cut();
    } else if (this.#res.hasHeader("Content-Encoding")) {
      const timer = setTimeout(() => socket.destroySoon(), compressionLimit);
      this.#untilClosed.push(() => clearTimeout(timer));
    } else {
      // Node has it corked until the end of this tick.
      this.#untilClosed.push(inNextTurn(() => socket.destroySoon()));
    }
  }

  #cut(): void {
    this.#res.destroy();
    this.#close();
  }

  readonly #stalled = (): void => {
    if (this.#reason === "completed") this.#reason = "timeout";
    this.#cut();
  };

  readonly #gone = (): void => {
    if (this.#reason === "completed") this.#reason = "disconnected";
    this.#close();
  };

  readonly #finished = (): void => {
    // A connection that is kept alive would hold a closing server open.
    if (this.#isShuttingDown) this.#req.socket.destroySoon();
    this.#close();
  };

  get #isShuttingDown(): boolean {
    return this.#shutdown.aborted || (this.#settings.endOnServerClose && listeningServer(this.#req.socket)?.listening === false);
  }

  readonly #beginShutdown = (): void => {
    if (this.#shutdown.aborted) return;
    this.#shutdown.abort("shutdown");
    const { shutdownGracePeriod } = this.#settings;
    if (shutdownGracePeriod === 0) this.#endForShutdown();
    else this.#after(shutdownGracePeriod, this.#endForShutdown);
  };

  readonly #endForShutdown = (): void => {
    this.#after(shutdownLimit, () => this.#cut());
    this.#end("shutdown");
  };

  #after(delay: number, callback: () => void): void {
    const timer = setTimeout(callback, delay);
    this.#untilClosed.push(() => clearTimeout(timer));
  }

  /** Lets the source go. It may be waiting for anything: it is told, and not waited for. */
  #letGo(): void {
    for (const stop of this.#whileOpen.splice(0)) stop();
    this.#ended.abort(this.#reason);
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.return();
  }

  #close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#letGo();
    for (const stop of this.#untilClosed.splice(0)) stop();
    this.#writer.close();
    if (this.#openedAt !== undefined) this.#report(performance.now() - this.#openedAt);
    this.#done(this.#unhandled);
  }

  #report(duration: number): void {
    const summary: StreamSummary = {
      reason: this.#reason,
      ...(this.#reason === "error" ? { error: this.#error } : {}),
      events: this.#events,
      bytes: this.#writer.bytes,
      duration,
    };
    try {
      this.#settings.onClose?.(summary);
    } catch (error) {
      this.#unhandled.push(error);
    }
    if (diagnostics.close.hasSubscribers) diagnostics.close.publish({ request: this.#req, response: this.#res, summary });
  }
}
