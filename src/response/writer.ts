import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { responseEnded } from "../errors.js";
import { type Flushable, isBare, type Progress, writeChunk, writeThrough } from "./direct-write.js";
import type { StreamEvents } from "./stream-events.js";
import { StallWatch, type Watched } from "./stall-watch.js";

/** Frames that are ready at once leave joined, up to this many characters: the measure of Node's own high-water mark. */
const joinedLimit = 16_384;

/**
 * Writes whole frames to a response, and knows whether it has room.
 *
 * Frames of the same run of microtasks leave in one write: chunk framing and a system call for each
 * event would cost twice the throughput. The write itself waits only for that run to be over
 * (`process.nextTick`), never for a timer or for a turn of the event loop.
 */
export class FrameWriter implements Watched {
  /** How many bytes have been written, before any compression. */
  bytes = 0;

  readonly #res: Flushable;
  readonly #sendTimeout: number | false;
  readonly #events: StreamEvents;

  #state: "writable" | "draining" | "ended" | "closed" = "writable";
  /** Frames that wait for the end of this run of microtasks, or, while draining, for room. */
  #joined = "";
  /** The last bytes that were given as they are, as latin1, as many as a blank line has; none since a whole frame. */
  #tail = "";
  #resume: (() => void) | undefined;
  /** One listener for the response's life, from when there is no room: behind `compression`, `once` would add one for ever. */
  #onDrain: (() => void) | undefined;
  /** The response's socket, where chunks may go straight to it. */
  #socket: Socket | null = null;
  /** There only while something is left for the client to take. */
  #watch: StallWatch | "soon" | undefined;

  constructor(res: ServerResponse, sendTimeout: number | false, events: StreamEvents) {
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#events = events;
  }

  /** Whether there is room for another frame. What `write()` returned counts: behind `compression`, `writableNeedDrain` lies. */
  get isWritable(): boolean {
    return this.#state === "writable";
  }

  /** Whether bytes that were given as they are have left a frame open, so that no other may follow. */
  get isMidFrame(): boolean {
    return this.#tail !== "" && !this.#tail.replace(/\r\n|\r/g, "\n").endsWith("\n\n");
  }

  /** Whether it has let everything go. Every write may come to this: the response may fail at once. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  get #isOver(): boolean {
    return this.#state === "ended" || this.#state === "closed";
  }

  write(frame: string | Uint8Array): void {
    if (this.#isOver) return;
    if (typeof frame !== "string") {
      this.#flushJoined();
      this.#tail = (this.#tail + Buffer.from(frame.subarray(-4)).toString("latin1")).slice(-4);
      // A copy: the socket reads it later, and the source may fill its buffer anew before that.
      if (frame.length > 0) this.#send(Buffer.from(frame));
      return;
    }
    this.#tail = "";
    if (this.#joined.length + frame.length > joinedLimit) this.flush();
    if (this.#joined === "") flushSoon(this);
    this.#joined += frame;
    if (this.#joined.length >= joinedLimit) this.flush();
  }

  /** Sends the head without waiting for a frame. */
  flushHead(): void {
    try {
      // Some test doubles have none.
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

  /** Writes what is left, and nothing after it; the response stays open. A watch goes on until `close`. */
  stop(): void {
    if (this.#isOver) return;
    this.#flushJoined();
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

  /** Lets everything go: nothing more will be sent or is waited for. */
  close(): void {
    this.#state = "closed";
    this.#joined = "";
    this.#resume?.();
    this.unwatch();
    if (this.#onDrain !== undefined) this.#res.removeListener("drain", this.#onDrain);
  }

  /** Writes what is joined, if there is room. The end of each run of microtasks calls it. */
  flush(): void {
    if (this.#state === "writable") this.#flushJoined();
  }

  #flushJoined(): void {
    const joined = this.#joined;
    this.#joined = "";
    if (joined !== "") this.#send(joined);
  }

  #send(chunk: string | Uint8Array): void {
    if (this.isClosed) return;
    const length = Buffer.byteLength(chunk);
    const isFirst = this.bytes === 0;
    this.bytes += length;
    try {
      // A write after the end would be an uncaught error of the process.
      if (this.#res.writableEnded) throw responseEnded();
      const bare = isBare(this.#res);
      if (!bare) this.#socket = null;
      if (this.#socket !== null) this.#sent(writeChunk(this.#socket, this.#res, chunk, length));
      // A tick or a drain that another request set going may have led here.
      else this.#events.runInAsyncScope(() => this.#sent(writeThrough(this.#res, chunk)));
      // The first one takes the head along. Whoever wraps that one may keep it for later, whatever he does with the next.
      if (isFirst && bare && this.#res.chunkedEncoding) this.#socket = this.#res.socket;
    } catch (error) {
      this.#events.onResponseError(error);
    }
  }

  #sent(progress: Progress): void {
    if (progress !== "sent") this.#watchSoon();
    if (progress !== "full" || this.isClosed) return;
    // Test doubles and serverless hosts collect the body: no 'drain' would ever come.
    if (!(this.#res.socket instanceof Duplex)) return;
    this.#state = "draining";
    if (this.#onDrain === undefined) this.#res.on("drain", (this.#onDrain = () => this.#drain()));
  }

  #drain(): void {
    if (this.#state !== "draining") return;
    this.#state = "writable";
    // What is joined waits for what the source has ready now. Ticks go before microtasks, and this is one: the flush must be
    // asked for from among those.
    if (this.#joined !== "") queueMicrotask(() => flushSoon(this));
    this.#resume?.();
    this.#resume = undefined;
  }

  #watchSoon(): void {
    if (this.#watch !== undefined || this.#sendTimeout === false || this.isClosed) return;
    const sendTimeout = this.#sendTimeout;
    this.#watch = "soon";
    // Node hands what was written to the system at the end of this tick; only what is left after that is the client's to take.
    process.nextTick(() => {
      if (this.#watch !== "soon") return;
      // Who wraps the response may hold something that cannot be seen.
      this.#watch = this.isDrained && this.#socket !== null ? undefined : new StallWatch(this.#res, sendTimeout, this);
    });
  }

  get isDrained(): boolean {
    // While it is corked the response may hold what the socket does not know of yet.
    const holder = this.#socket?.writableCorked === 0 ? this.#socket : this.#res;
    return this.#state === "writable" && holder.writableLength === 0;
  }

  unwatch(): void {
    if (this.#watch instanceof StallWatch) this.#watch.stop();
    this.#watch = undefined;
  }

  stalled(): void {
    this.#events.onClientLost("timeout");
  }
}

/** The writers that have something for the end of this run of microtasks: one tick serves them all. */
let waiting: FrameWriter[] = [];

function flushSoon(writer: FrameWriter): void {
  if (waiting.push(writer) === 1) process.nextTick(flushAll);
}

function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}
