import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { Timer } from "../runtime/clock.js";
import { isClientGone } from "./client-gone.js";
import { FrameWriter, type WriterEvents } from "./writer.js";

/** `compression` cannot be asked whether it has handed over all it was given: it has when nothing more came for so long. */
const compressionPause = 100;

/** What can happen to a connection. Each may be called more than once, until `release`. */
export interface ConnectionEvents extends WriterEvents {
  /** The client has been given everything. */
  finished(): void;
  /** The client left, or takes nothing. */
  lose(reason: "disconnected" | "timeout"): void;
}

/** The client's side of a stream: what is written to it, and the ways it can end. */
export class Connection {
  readonly writer: FrameWriter;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #events: ConnectionEvents;
  /** `null` where a test or a serverless host stands in for the connection. */
  readonly #socket: Socket | null;
  #state: "open" | "ended" | "aborted" = "open";
  #onFinish: (() => void) | undefined;
  #abortTimer: Timer | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, sendTimeout: number | false, events: ConnectionEvents) {
    this.#req = req;
    this.#res = res;
    this.#events = events;
    this.#socket = req.socket instanceof Socket ? req.socket : null;
    this.writer = new FrameWriter(res, this.#socket === null ? false : sendTimeout, events);
    res.on("close", this.#onClose);
    req.on("close", this.#onClose);
    res.on("error", this.#onError);
  }

  readonly #onClose = (): void => {
    // The request's own 'close' also means that its body was read: at once after `express.json()`.
    if (isClientGone(this.#req, this.#res)) this.#events.lose("disconnected");
  };

  readonly #onError = (error: unknown): void => this.#events.broken(error);

  /** Writes what is left and ends the response. */
  end(): void {
    this.#state = "ended";
    const onFinish = (): void => this.#events.finished();
    this.#onFinish = onFinish;
    this.#res.on("finish", onFinish);
    this.#uncork();
    this.writer.end();
    // A response without a socket has nobody to wait for, and some have no 'finish'.
    if (this.#socket === null) process.nextTick(onFinish);
  }

  /** Cuts it at once. */
  abort(): void {
    if (this.#state === "open") this.#state = "aborted";
    this.#res.destroy();
  }

  /** Cuts it, so that the client sees a failure, after what was written before has left. */
  abortSoon(): void {
    this.#uncork();
    this.writer.stop();
    // What it wrote may have failed, and that is an end, too.
    if (this.writer.isClosed) return;
    this.#state = "aborted";
    if (this.#socket !== null && this.#res.hasHeader("Content-Encoding")) {
      this.#hangUpWhenCompressed(this.#socket);
    } else {
      // The response itself may keep what is written until the end of this tick.
      process.nextTick(() => this.#hangUpOrGiveUp());
    }
  }

  /** Since Node 22 the end of a response overtakes what the application has corked and not uncorked. */
  #uncork(): void {
    try {
      for (let corked = this.#res.writableCorked; corked > 0; corked--) this.#res.uncork();
    } catch (error) {
      this.#onError(error);
    }
  }

  /** `compression` hands over more each time the client has taken what was there before. */
  #hangUpWhenCompressed(socket: Socket, before = -1): void {
    const { bytesWritten } = socket;
    if (bytesWritten === before && this.#res.writableLength === 0) return this.hangUp();
    this.#abortTimer = new Timer(compressionPause, () => this.#hangUpWhenCompressed(socket, bytesWritten));
  }

  #hangUpOrGiveUp(): void {
    if (this.#socket !== null) return this.hangUp();
    try {
      this.#res.destroy();
    } catch {
      // A test double that cannot be cut is ended.
    }
    this.#events.lose("disconnected");
  }

  /**
   * Closes the connection after what was written has left: one that is kept alive would hold a closing server open.
   * But for a pipelined request that is being answered on it by now.
   */
  hangUp(): void {
    const socket: (Socket & { readonly _httpMessage?: ServerResponse | null }) | null = this.#socket;
    if (socket !== null && (socket._httpMessage ?? this.#res) === this.#res) socket.destroySoon();
  }

  /**
   * Ends a response that nobody will read any more: middlewares such as express-session do their work in `end`.
   *
   * @throws what `end` throws
   */
  endUnread(): void {
    if (this.#state === "ended" || this.#res.writableEnded) return;
    if (this.#state === "aborted" || isClientGone(this.#req, this.#res)) this.#res.end();
  }

  /** Lets everything go that waits for something to happen to it. */
  release(): void {
    // Test doubles of a response have no `off`.
    this.#res.removeListener("close", this.#onClose);
    this.#req.removeListener("close", this.#onClose);
    if (this.#onFinish !== undefined) this.#res.removeListener("finish", this.#onFinish);
    this.#res.removeListener("error", this.#onError);
    this.#abortTimer?.stop();
    this.writer.close();
  }
}
