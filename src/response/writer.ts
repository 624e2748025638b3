import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { every } from "./metronome.js";

/** `compression()` gives the response this method; without the call it holds every event back. */
type Flushable = ServerResponse & { flush?: () => void };

/** Frames that are ready at once leave joined, up to this many characters: the measure of Node's own high-water mark. */
const joinedLimit = 16_384;

/**
 * Writes whole frames to a response, and knows whether it has room.
 *
 * Frames of the same run of microtasks leave in one write: chunk framing and a system call for each
 * event would cost twice the throughput. The write itself waits only for that run to be over
 * (`process.nextTick`), never for a timer or for a turn of the event loop.
 */
export class FrameWriter {
  /** How many bytes have been written, before any compression. */
  bytes = 0;

  readonly #res: Flushable;
  readonly #stalled: () => void;
  readonly #sendTimeout: number | false;

  #state: "writable" | "draining" | "ended" = "writable";
  /** Frames that wait for the end of this run of microtasks, or, while draining, for room. */
  #joined = "";
  /** The last bytes that were written left a frame unfinished. */
  #midFrame = false;
  #resume: (() => void) | undefined;

  #unwatch: (() => void) | undefined;
  #taken = 0;
  #idleQuarters = 0;

  /** `stalled` is called when the client has taken nothing for `sendTimeout` milliseconds although something was there. */
  constructor(res: ServerResponse, sendTimeout: number | false, stalled: () => void) {
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#stalled = stalled;
    // One listener for the response's life: behind `compression`, `once` would add one for ever.
    res.on("drain", this.#drain);
  }

  /** Whether there is room for another frame. What `write()` returned counts: behind `compression`, `writableNeedDrain` lies. */
  get isWritable(): boolean {
    return this.#state === "writable";
  }

  /** Whether bytes that were given as they are have left a frame open, so that no other may follow. */
  get isMidFrame(): boolean {
    return this.#midFrame;
  }

  write(frame: string | Uint8Array): void {
    if (this.#state === "ended") return;
    if (typeof frame !== "string") {
      this.#flushJoined();
      this.#midFrame = frame.length > 0 ? !endsFrame(frame) : this.#midFrame;
      // A copy: the socket reads it later, and the source may fill its buffer anew before that.
      if (frame.length > 0) this.#send(Buffer.from(frame));
      return;
    }
    this.#midFrame = false;
    if (this.#joined.length + frame.length > joinedLimit) this.#flush();
    if (this.#joined === "") flushSoon(this);
    this.#joined += frame;
    if (this.#joined.length >= joinedLimit) this.#flush();
  }

  /** Resolves when there is room again, or never will be. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#state === "draining") this.#resume = resolve;
      else resolve();
    });
  }

  /** Writes what is left and ends the response. The client may still be taking it: the watch goes on until `close`. */
  end(): void {
    if (this.#state === "ended") return;
    this.#flushJoined();
    this.#state = "ended";
    this.#resume?.();
    this.#res.end();
    this.#watch();
  }

  /** Writes what is left, and nothing after it; the response stays open. */
  stop(): void {
    if (this.#state === "ended") return;
    this.#flushJoined();
    this.#state = "ended";
    this.#resume?.();
  }

  /** Lets everything go: nothing more will be sent or is waited for. */
  close(): void {
    this.#state = "ended";
    this.#joined = "";
    this.#resume?.();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#res.off("drain", this.#drain);
  }

  /** Called by the shared flush at the end of a run of microtasks. */
  flushNow(): void {
    this.#flush();
  }

  #flush(): void {
    if (this.#state === "writable") this.#flushJoined();
  }

  #flushJoined(): void {
    const joined = this.#joined;
    if (joined === "") return;
    this.#joined = "";
    this.#send(joined);
  }

  #send(chunk: string | Uint8Array): void {
    this.bytes += Buffer.byteLength(chunk);
    if (!this.#res.write(chunk)) this.#state = "draining";
    this.#res.flush?.();
    this.#watch();
  }

  readonly #drain = (): void => {
    if (this.#state !== "draining") return;
    this.#state = "writable";
    this.#flushJoined();
    if (this.#state !== "writable") return;
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  };

  /**
   * Looks four times in each `sendTimeout` whether the client takes what is there. It starts with
   * a write and stops by itself when nothing is left, so an idle stream has no watch.
   */
  #watch(): void {
    if (this.#unwatch !== undefined || this.#sendTimeout === false) return;
    this.#idleQuarters = 0;
    this.#unwatch = every(this.#sendTimeout / 4, this.#look);
    // Node hands what was written to the system at the end of this tick; only what moves after that is the client's doing.
    process.nextTick(() => (this.#taken = taken(this.#res)));
  }

  readonly #look = (): void => {
    const now = taken(this.#res);
    // A pipelined response has no socket before its turn: the client cannot take anything yet.
    const moved = now !== this.#taken || this.#res.socket === null;
    this.#taken = now;
    this.#idleQuarters = moved ? 0 : this.#idleQuarters + 1;
    if (this.#state === "writable" && this.#res.writableLength === 0) {
      this.#unwatch?.();
      this.#unwatch = undefined;
    } else if (this.#idleQuarters >= 4) {
      this.#stalled();
    }
  };
}

/**
 * A number that changes whenever the system takes bytes from the response's socket.
 *
 * Within one long write only the handle knows how much of it is left; Node's own socket timeout
 * looks at the same field. Where there is none, progress shows at the end of each write.
 */
function taken(res: ServerResponse): number {
  const socket: (Socket & { _handle?: Handle | null }) | null = res.socket;
  if (socket === null) return 0;
  // Over TLS the system takes from the handle below: the one above counts a write as left until all of it has gone.
  const handle = socket._handle?._parent ?? socket._handle;
  return socket.bytesWritten - res.writableLength - (handle?.writeQueueSize ?? 0);
}

interface Handle {
  readonly writeQueueSize?: number;
  readonly _parent?: Handle;
}

const LF = 0x0a;
const CR = 0x0d;

/** Whether bytes end with a blank line, whatever the line ending. */
function endsFrame(bytes: Uint8Array): boolean {
  const last = bytes.at(-1);
  const before = bytes.at(-2);
  if (last === CR) return before === CR || before === LF;
  if (last !== LF) return false;
  return before === LF || (before === CR && (bytes.at(-3) === LF || bytes.at(-3) === CR));
}

/** The writers that have something for the end of this run of microtasks: one tick serves them all. */
let waiting: FrameWriter[] = [];

function flushSoon(writer: FrameWriter): void {
  if (waiting.push(writer) === 1) process.nextTick(flushAll);
}

function flushAll(): void {
  const writers = waiting;
  waiting = [];
  for (const writer of writers) writer.flushNow();
}
