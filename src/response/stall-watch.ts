import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Ticker } from "../runtime/shared-interval.js";

/** The writer that is watched. */
export interface Watched {
  /** Whether nothing is left for the client to take. */
  readonly isDrained: boolean;
  /** Whether there may be bytes that cannot be seen. */
  readonly mayHideBytes: boolean;
  /** Whether nothing more will be written. */
  readonly hasEnded: boolean;
  /** The client has taken everything, and the watch is over. */
  onDrained(): void;
  /** Bytes were waiting, and the client has taken none of them for `sendTimeout` milliseconds. */
  onStalled(): void;
}

/** Checks four times in each `sendTimeout` whether the client takes bytes that are waiting for it. */
export class StallWatch extends Ticker {
  readonly #res: ServerResponse;
  readonly #sendTimeout: number;
  readonly #watched: Watched;
  #state: "new" | "watching" | "over" = "new";
  #taken = 0;
  #quarters = 0;

  constructor(res: ServerResponse, sendTimeout: number, watched: Watched) {
    super();
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#watched = watched;
    // At the end of this tick, Node hands over what was written. Only what is left then is waiting for the client.
    process.nextTick(() => this.#begin());
  }

  #begin(): void {
    if (this.#state !== "new") return;
    if (this.#watched.isDrained && !this.#watched.mayHideBytes) return this.#end();
    this.#state = "watching";
    this.#taken = bytesTaken(this.#res);
    this.startTicking(this.#sendTimeout / 4);
  }

  #end(): void {
    this.release();
    this.#watched.onDrained();
  }

  release(): void {
    this.#state = "over";
    this.stopTicking();
  }

  tick(): void {
    const now = bytesTaken(this.#res);
    // Without bytes in the socket, the client cannot take any: a middleware such as `compression` still works on them.
    // After the end, this counts all the same, because `end` may wait for a session store that never answers.
    const isHeldBack = bytesWaiting(this.#res) === 0 && !this.#watched.hasEnded;
    const moved = now !== this.#taken || isHeldBack;
    this.#taken = now;
    this.#quarters = moved ? 0 : this.#quarters + 1;
    if (this.#watched.isDrained) this.#end();
    else if (this.#quarters >= 4) this.#watched.onStalled();
  }
}

/** A number that changes whenever the system takes bytes from the response's socket. */
function bytesTaken(res: ServerResponse): number {
  return (res.socket?.bytesWritten ?? 0) - bytesWaiting(res);
}

/**
 * How many bytes wait in the response's socket. A response that has no socket yet, because it is pipelined, has none.
 *
 * Only the handle knows how much of one long write is left; Node's own socket timeout reads the same field. Without a
 * handle, progress shows only at the end of each write.
 */
function bytesWaiting(res: ServerResponse): number {
  const socket: (Socket & { _handle?: Handle | null }) | null = res.socket;
  if (socket === null) return 0;
  // Over TLS, read the TCP handle: the TLS handle counts a whole write as waiting until all of it has gone.
  const handle = socket._handle?._parent ?? socket._handle;
  return res.writableLength + (handle?.writeQueueSize ?? 0);
}

interface Handle {
  readonly writeQueueSize?: number;
  readonly _parent?: Handle;
}
