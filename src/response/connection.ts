import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { Timer } from "../runtime/clock.js";
import { isClientGone } from "./client-gone.js";
import type { StreamEvents } from "./stream-events.js";
import { FrameWriter } from "./writer.js";

/** Milliseconds without a new byte after which `compression` is taken to have passed everything on. It cannot be asked. */
const compressionPause = 100;

/** The client's side of a stream: what is written to it, and the ways it can end. */
export class Connection {
  readonly writer: FrameWriter;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #events: StreamEvents;
  /** `null` where a test double or a serverless host takes the place of a real connection. */
  readonly #socket: Socket | null;
  #state: "open" | "ended" | "aborted" = "open";
  #onFinish: (() => void) | undefined;
  #abortTimer: Timer | undefined;

  constructor(req: IncomingMessage, res: ServerResponse, sendTimeout: number | false, events: StreamEvents) {
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
    // A request also emits 'close' when its body has been read, which `express.json()` does before the stream begins.
    if (isClientGone(this.#req, this.#res)) this.#events.onClientLost("disconnected");
  };

  readonly #onError = (error: unknown): void => this.#events.onResponseError(error);

  /** Writes what is left and ends the response. */
  end(): void {
    this.#state = "ended";
    const onFinish = (): void => this.#events.onFinish();
    this.#onFinish = onFinish;
    this.#res.on("finish", onFinish);
    this.#uncork();
    this.writer.end();
    // Without a socket no client has to take the rest, and some test doubles never emit 'finish'.
    if (this.#socket === null) process.nextTick(onFinish);
  }

  /** Cuts the connection at once. */
  abort(): void {
    if (this.#state === "open") this.#state = "aborted";
    this.#res.destroy();
  }

  /** Cuts the connection once everything written so far has left. The missing end tells the client that the stream failed. */
  abortAfterWrites(): void {
    this.#uncork();
    this.writer.stop();
    // The write failed, and that has ended the stream already.
    if (this.writer.isClosed) return;
    this.#state = "aborted";
    if (this.#socket !== null && this.#res.hasHeader("Content-Encoding")) {
      this.#endSocketWhenCompressed(this.#socket);
    } else {
      // The response may hold the last write until the end of this tick.
      process.nextTick(() => this.#endSocketOrGiveUp());
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
  #endSocketWhenCompressed(socket: Socket, before = -1): void {
    const { bytesWritten } = socket;
    if (bytesWritten === before && this.#res.writableLength === 0) return this.endSocket();
    this.#abortTimer = new Timer(compressionPause, () => this.#endSocketWhenCompressed(socket, bytesWritten));
  }

  #endSocketOrGiveUp(): void {
    if (this.#socket !== null) return this.endSocket();
    try {
      this.#res.destroy();
    } catch {
      // A test double that cannot be destroyed. `endUnread` ends it.
    }
    this.#events.onClientLost("disconnected");
  }

  /**
   * Closes the socket after its writes, unless a pipelined request is using it. A socket that is kept alive would hold a
   * closing server open.
   */
  endSocket(): void {
    const socket: (Socket & { readonly _httpMessage?: ServerResponse | null }) | null = this.#socket;
    if (socket !== null && (socket._httpMessage ?? this.#res) === this.#res) socket.destroySoon();
  }

  /**
   * Ends a response that no client will read any more. Middlewares such as express-session do their work in `end`.
   *
   * @throws what `end` throws
   */
  endUnread(): void {
    if (this.#state === "ended" || this.#res.writableEnded) return;
    if (this.#state === "aborted" || isClientGone(this.#req, this.#res)) this.#res.end();
  }

  /** Removes every listener and timer. */
  release(): void {
    // Test doubles of a response have no `off`.
    this.#res.removeListener("close", this.#onClose);
    this.#req.removeListener("close", this.#onClose);
    if (this.#onFinish !== undefined) this.#res.removeListener("finish", this.#onFinish);
    this.#res.removeListener("error", this.#onError);
    this.#abortTimer?.stop();
    this.writer.release();
  }
}
