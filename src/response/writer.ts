import type { ServerResponse } from "node:http";
import { Duplex } from "node:stream";
import { responseEnded } from "../errors.js";
import { ChunkWriter } from "./direct-write.js";
import type { StreamEvents } from "./stream-events.js";
import { StallWatch, type Watched } from "./stall-watch.js";

/** The most characters in one batch. With the framing of a chunk, they just fit Node 20's high-water mark. */
const batchLimit = 16_384 - 10;

/**
 * Writes whole frames to a response, and knows whether the response has room for more.
 *
 * Frames of the same run of microtasks leave as one batch: a chunk and a system call for each event would halve the
 * throughput. A batch waits only until that run is over (`process.nextTick`), never for a timer or a turn of the event
 * loop.
 */
export class FrameWriter extends ChunkWriter implements Watched {
  /** How many bytes have been written, before any compression. */
  bytes = 0;

  readonly #sendTimeout: number | false;

  #state: "writable" | "draining" | "ended" | "closed" = "writable";
  /** Frames that wait for the end of this run of microtasks or, while draining, for room. */
  #batch = "";
  /** The last four raw bytes, as latin1, to see if they end in a blank line. Empty after a frame that we encoded. */
  #tail = "";
  #resume: (() => void) | undefined;
  /**
   * The listener for `'drain'`, added when the response is first full and then kept. Adding one with `once` each time
   * would pile them up, because behind `compression` they would not be removed.
   */
  #onDrain: (() => void) | undefined;
  /** Set while bytes await the client. */
  #watch: StallWatch | undefined;

  constructor(res: ServerResponse, sendTimeout: number | false, events: StreamEvents) {
    super(res, events);
    this.#sendTimeout = sendTimeout;
  }

  /**
   * Whether there is room for another frame. It goes by the result of `write()`, because `writableNeedDrain` is wrong
   * behind `compression`.
   */
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

  /** Resolves when there is room again, or when there never will be. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === "draining") this.#resume = resolve;
      else resolve();
    });
  }

  /**
   * Writes what is left, and nothing after it. The response stays open, and a stalled client is watched until
   * `release`.
   */
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
      this.res.end();
    } catch (error) {
      this.events.onResponseError(error);
    }
    this.#watchClient();
  }

  /** Releases everything: nothing more is sent or waited for. */
  release(): void {
    this.#state = "closed";
    this.#batch = "";
    this.#resume?.();
    this.#watch?.release();
    if (this.#onDrain !== undefined) this.res.removeListener("drain", this.#onDrain);
  }

  /** Writes the batch if there is room. Called when it is full, and at the end of each run of microtasks. */
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
    this.bytes += length;
    try {
      // For a write after the end, Node would raise an uncaught error.
      if (this.res.writableEnded) throw responseEnded();
      const progress = this.writeChunk(chunk, length);
      if (progress !== "sent") this.#watchClient();
      if (progress === "full") this.#awaitDrain();
    } catch (error) {
      this.events.onResponseError(error);
    }
  }

  #awaitDrain(): void {
    // Test doubles and serverless hosts collect the body, and never emit 'drain'.
    if (this.isClosed || !(this.res.socket instanceof Duplex)) return;
    this.#state = "draining";
    if (this.#onDrain === undefined) this.res.on("drain", (this.#onDrain = () => this.#drain()));
  }

  #drain(): void {
    if (this.#state !== "draining") return;
    this.#state = "writable";
    // Items that the source has ready now should join the batch. They come in microtasks, which run after this tick, so
    // the flush is scheduled from a microtask.
    if (this.#batch !== "") queueMicrotask(() => flushSoon(this));
    this.#resume?.();
    this.#resume = undefined;
  }

  #watchClient(): void {
    if (this.#watch !== undefined || this.#sendTimeout === false || this.isClosed) return;
    this.#watch = new StallWatch(this.res, this.#sendTimeout, this);
  }

  override get isDrained(): boolean {
    return this.#state === "writable" && super.isDrained;
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  onDrained(): void {
    this.#watch = undefined;
  }

  onStalled(): void {
    this.events.onClientLost("timeout");
  }
}

/** The writers whose batch leaves at the end of this run of microtasks. One `process.nextTick` serves them all. */
let waiting: FrameWriter[] = [];

function flushSoon(writer: FrameWriter): void {
  if (waiting.push(writer) === 1) process.nextTick(flushAll);
}

function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flush();
}
