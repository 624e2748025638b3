import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { isClientGone } from "./client-gone.js";
import { afterOneTurn } from "../runtime/turn.js";
import { FrameWriter, type WriterEvents } from "./writer.js";

/** `compression` cannot be asked whether it has handed over all it was given: it has when nothing more came for so long. */
const compressionPause = 100;

/** What can happen to a connection. Each may be called more than once, until `close`. */
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
  #onFinish: (() => void) | undefined;
  readonly #broken = (error: unknown): void => this.#events.broken(error);
  #cancelCut: (() => void) | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, sendTimeout: number | false, events: ConnectionEvents) {
    this.#req = req;
    this.#res = res;
    this.#events = events;
    this.writer = new FrameWriter(res, sendTimeout, events);
    res.on("close", this.#closed);
    req.on("close", this.#closed);
    // A pipelined response has no socket before its turn, and its 'close' may never come.
    if (res.socket === null) req.socket.on("close", this.#closed);
    res.on("error", this.#broken);
  }

  readonly #closed = (): void => {
    // The request's own 'close' also means that its body was read: at once after `express.json()`.
    if (isClientGone(this.#req, this.#res)) this.#events.lose("disconnected");
  };

  /** Writes what is left and ends the response. */
  end(): void {
    this.#onFinish = () => this.#events.finished();
    this.#res.on("finish", this.#onFinish);
    this.writer.end();
  }

  /** Cuts it at once. */
  cut(): void {
    this.#res.destroy();
  }

  /** Cuts it, so that the client sees a failure, after what was written before has left. */
  cutSoon(): void {
    this.writer.stop();
    // What it wrote may have failed, and that is an end, too.
    if (this.writer.isClosed) return;
    if (this.#res.socket === null) {
      // A pipelined response hands over what it holds when its turn comes.
      const arrived = (): void => afterOneTurn(() => this.hangUp());
      this.#res.once("socket", arrived);
      this.#cancelCut = () => this.#res.off("socket", arrived);
    } else if (this.#res.hasHeader("Content-Encoding")) {
      // It hands over more each time the client has taken what was there before.
      const { socket } = this.#req;
      let before = -1;
      const timer = setInterval(() => {
        if (socket.bytesWritten === before && this.#res.writableLength === 0) this.hangUp();
        before = socket.bytesWritten;
      }, compressionPause);
      this.#cancelCut = () => clearInterval(timer);
    } else {
      // The response itself may keep what is written until the end of this tick.
      process.nextTick(() => this.hangUp());
    }
  }

  /**
   * Closes the connection after what was written has left: one that is kept alive would hold a closing server open.
   * But for a pipelined request that is being answered on it by now.
   */
  hangUp(): void {
    const socket: Socket & { readonly _httpMessage?: ServerResponse | null } = this.#req.socket;
    if ((socket._httpMessage ?? this.#res) === this.#res) socket.destroySoon();
  }

  /** Lets everything go that waits for something to happen to it. */
  close(): void {
    this.#res.off("close", this.#closed);
    this.#req.off("close", this.#closed);
    this.#req.socket.off("close", this.#closed);
    if (this.#onFinish !== undefined) this.#res.off("finish", this.#onFinish);
    this.#res.off("error", this.#broken);
    this.#cancelCut?.();
    this.writer.close();
  }
}
