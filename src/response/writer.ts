import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { responseEnded } from "../errors.js";
import { type Flushable, isBare, type Progress, writeChunk, writeThrough } from "./direct-write.js";
import type { StreamEvents } from "./stream-events.js";
import { StallWatch, type Watched } from "./stall-watch.js";

/** The most characters of one batch: Node's own high-water mark. */
const batchLimit = 16_384;

/**
 * Writes whole frames to a response, and knows whether the response has room for more.
 *
 * Frames of the same run of microtasks leave as one batch: a chunk and a system call for each event would halve the
 * throughput. A batch waits only until that run is over (`process.nextTick`), never for a timer or a turn of the event loop.
 */
export class FrameWriter implements Watched {
  /** How many bytes have been written, before any compression. */
  bytes = 0;

  readonly #res: Flushable;
  readonly #sendTimeout: number | false;
  readonly #events: StreamEvents;

  #state: "writable" | "draining" | "ended" | "closed" = "writable";
  /** Frames that wait for the end of this run of microtasks or, while draining, for room. */
  #batch = "";
  /** The last four raw bytes, as latin1: do they end in a blank line? Empty after a frame of our own. */
  #tail = "";
  #resume: (() => void) | undefined;
  /** Added when the response is first full, and kept for its life: behind `compression`, each `once` would stay as well. */
  #onDrain: (() => void) | undefined;
  /** The response's socket, if chunks may go straight to it. */
  #socket: Socket | null = null;
  /** Set while bytes await the client; `"soon"`: check at the end of this tick. */
  #watch: StallWatch | "soon" | undefined;

  constructor(res: ServerResponse, sendTimeout: number | false, events: StreamEvents) {
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#events = events;
  }

  /** Whether there is room for another frame. It goes by the result of `write()`: behind `compression`, `writableNeedDrain` lies. */
  get isWritable(): boolean {
    return this.#state === "writable";
  }

  /** Whether raw bytes have left a frame open, so that no other frame may follow. */
  get isMidFrame(): boolean {
    return this.#tail !== "" && !this.#tail.replace(/\r\n|\r/g, "\n").endsWith("\n\n");
  }

  /** Whether everything has been released. Any write may lead to this, because the response may fail at once. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  get #isOver(): boolean {
    return this.#state === "ended" || this.#state === "closed";
  }

  write(frame: string | Uint8Array): void {
    if (this.#isOver) return;
    if (typeof frame !== "string") {
      this.#flushBatch();
      this.#tail = (this.#tail + Buffer.from(frame.subarray(-4)).toString("latin1")).slice(-4);
      // Copied, because the source may reuse its buffer before the socket has read it.
      if (frame.length > 0) this.#send(Buffer.from(frame));
      return;
    }
    this.#tail = "";
    if (this.#batch.length + frame.length > batchLimit) this.flush();
    if (this.#batch === "") flushSoon(this);
    this.#batch += frame;
    if (this.#batch.length >= batchLimit) this.flush();
  }

  /** Sends the head before there is a frame. */
  flushHead(): void {
    try {
      // Some test doubles do not have this method.
      (this.#res as Partial<Flushable>).flushHeaders?.();
    } catch (error) {
      this.#events.onResponseError(error);
    }
  }

  /** Resolves when there is room again, or never will be. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === "draining") this.#resume = resolve;
      else resolve();
    });
  }

  /** Writes what is left, and nothing after it. The response stays open, and a stalled client is watched until `release`. */
  stop(): void {
    if (this.#isOver) return;
    this.#flushBatch();
    if (this.isClosed) return;
    this.#state = "ended";
    this.#resume?.();
  }

  /** Writes what is left and ends the response. */
  end(): void {
    if (this.#isOver) return;
    this.stop();
    if (this.isClosed) return;
    try {
      this.#res.end();
    } catch (error) {
      this.#events.onResponseError(error);
    }
    this.#watchSoon();
  }

  /** Releases everything: nothing more is sent or waited for. */
  release(): void {
    this.#state = "closed";
    this.#batch = "";
    this.#resume?.();
    this.onDrained();
    if (this.#onDrain !== undefined) this.#res.removeListener("drain", this.#onDrain);
  }

  /** Writes the batch if there is room. Called at the end of each run of microtasks. */
  flush(): void {
    if (this.#state === "writable") this.#flushBatch();
  }

  #flushBatch(): void {
    const batch = this.#batch;
    this.#batch = "";
    if (batch !== "") this.#send(batch);
  }

  #send(chunk: string | Uint8Array): void {
    if (this.isClosed) return;
    const length = Buffer.byteLength(chunk);
    const isFirst = this.bytes === 0;
    this.bytes += length;
    try {
      // Node raises a write after the end as an uncaught error.
      if (this.#res.writableEnded) throw responseEnded();
      const bare = isBare(this.#res);
      if (!bare) this.#socket = null;
      if (this.#socket !== null) this.#sent(writeChunk(this.#socket, this.#res, chunk, length));
      // This may be running in a tick or a drain that belongs to another request.
      else this.#events.runInAsyncScope(() => this.#sent(writeThrough(this.#res, chunk)));
      // The first chunk carries the head. Go direct only if that write was unwrapped: a wrapper may still hold it back.
      if (isFirst && bare && this.#res.chunkedEncoding) this.#socket = this.#res.socket;
    } catch (error) {
      this.#events.onResponseError(error);
    }
  }

  #sent(progress: Progress): void {
    if (progress !== "sent") this.#watchSoon();
    if (progress !== "full" || this.isClosed) return;
    // Test doubles and serverless hosts collect the body, and never emit 'drain'.
    if (!(this.#res.socket instanceof Duplex)) return;
    this.#state = "draining";
    if (this.#onDrain === undefined) this.#res.on("drain", (this.#onDrain = () => this.#drain()));
  }

  #drain(): void {
    if (this.#state !== "draining") return;
    this.#state = "writable";
    // The batch still waits for what the source has ready now. This runs in a tick, before the microtasks, so the flush
    // must be scheduled from a microtask.
    if (this.#batch !== "") queueMicrotask(() => flushSoon(this));
    this.#resume?.();
    this.#resume = undefined;
  }

  #watchSoon(): void {
    if (this.#watch !== undefined || this.#sendTimeout === false || this.isClosed) return;
    const sendTimeout = this.#sendTimeout;
    this.#watch = "soon";
    // Node hands over what was written at the end of this tick. Only what is left then is waiting for the client.
    process.nextTick(() => {
      if (this.#watch !== "soon") return;
      // A wrapper may hold bytes that cannot be seen from here.
      this.#watch = this.isDrained && this.#socket !== null ? undefined : new StallWatch(this.#res, sendTimeout, this);
    });
  }

  get isDrained(): boolean {
    // A corked response may hold bytes that its socket does not know of yet.
    const holder = this.#socket?.writableCorked === 0 ? this.#socket : this.#res;
    return this.#state === "writable" && holder.writableLength === 0;
  }

  onDrained(): void {
    if (this.#watch instanceof StallWatch) this.#watch.release();
    this.#watch = undefined;
  }

  onStalled(): void {
    this.#events.onClientLost("timeout");
  }
}

/** The writers with a batch for the end of this run of microtasks. One tick serves them all. */
let waiting: FrameWriter[] = [];

function flushSoon(writer: FrameWriter): void {
  if (waiting.push(writer) === 1) process.nextTick(flushAll);
}

function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}
