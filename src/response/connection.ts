import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { headersSent } from "../errors.js";
import { Timer } from "../runtime/clock.js";
import { isClientGone } from "./client-gone.js";
import { type Head, setHead, setHeadWithoutContent } from "./head.js";
import type { StreamEvents } from "./stream-events.js";
import { FrameWriter } from "./writer.js";

/** Milliseconds without a new byte after which `compression` is assumed to be done. There is no way to ask it. */
const compressionPause = 100;

/** A stream's connection to its client: the head, what is written after it, and the ways it can end. */
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
    if (this.isClientGone) this.#events.onClientLost("disconnected");
  };

  readonly #onError = (error: unknown): void => this.#events.onResponseError(error);

  get isClientGone(): boolean {
    return isClientGone(this.#req, this.#res);
  }

  /** Whether the head has left: the stream's own, or that of another answer. */
  get isHeadSent(): boolean {
    return this.#res.headersSent;
  }

  /** @throws {EventStreamError} `ERR_HEADERS_SENT` if something else has answered */
  assertHeadIsUnsent(): void {
    if (this.#res.headersSent) throw headersSent();
  }

  /** Sets the head of a stream. It leaves with the first write. */
  setHead(head: Head): void {
    setHead(this.#res, head);
  }

  /** Sets the head of a 204. */
  setHeadWithoutContent(head: Head): void {
    setHeadWithoutContent(this.#res, head);
  }

  /** Sends the head without waiting for the first frame. */
  flushHead(): void {
    try {
      // Some test doubles do not have this method.
      if (!this.#res.headersSent) (this.#res as Partial<ServerResponse>).flushHeaders?.();
    } catch (error) {
      this.#onError(error);
    }
  }

  /** Makes Node close the connection after this response. Kept alive, it would hold a closing server open. */
  disableKeepAlive(): void {
    if (!this.#res.headersSent) this.#res.setHeader("Connection", "close");
  }

  /** Writes what is left and ends the response. */
  end(): void {
    this.#state = "ended";
    const onFinish = (): void => this.#events.onFinish();
    this.#onFinish = onFinish;
    this.#res.on("finish", onFinish);
    this.#uncork();
    this.writer.end();
    // Without a socket there is no client to wait for, and some test doubles never emit 'finish'.
    if (this.#socket === null) process.nextTick(onFinish);
  }

  /** Cuts the connection at once. */
  abort(): void {
    if (this.#state === "open") this.#state = "aborted";
    this.#res.destroy();
  }

  /**
   * Cuts the connection if the response has begun and nothing else has ended it. Otherwise a whole answer may still
   * reach the client: the one that was ended, or an HTTP error.
   */
  abortUnfinished(): void {
    if (this.#res.headersSent && !this.#res.writableEnded) this.abort();
  }

  /**
   * Cuts the connection once everything written so far has left. The client can tell that the stream failed, because
   * the end of the response is missing.
   */
  abortAfterWrites(): void {
    this.#uncork();
    this.writer.stop();
    // A write has failed, and that has closed the stream already.
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

  /** Waits first, because `compression` hands over more each time the client has taken what was there before. */
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

  /** Closes the socket after its writes, unless a pipelined request is using it. */
  endSocket(): void {
    const socket: (Socket & { readonly _httpMessage?: ServerResponse | null }) | null = this.#socket;
    if (socket !== null && (socket._httpMessage ?? this.#res) === this.#res) socket.destroySoon();
  }

  /**
   * Ends a response that no client will read any more. It must still end, because middlewares such as
   * express-session do their work in `end`.
   *
   * @throws whatever `end` throws
   */
  endUnread(): void {
    if (this.#state === "ended" || this.#res.writableEnded) return;
    if (this.#state === "aborted" || this.isClientGone) this.#res.end();
  }

  /** Removes every listener and timer. */
  release(): void {
    // Not `off`, which test doubles of a response do not have.
    this.#res.removeListener("close", this.#onClose);
    this.#req.removeListener("close", this.#onClose);
    if (this.#onFinish !== undefined) this.#res.removeListener("finish", this.#onFinish);
    this.#res.removeListener("error", this.#onError);
    this.#abortTimer?.stop();
    this.writer.release();
  }
}
