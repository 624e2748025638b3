import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Beat, every, type Ticker } from "../runtime/shared-interval.js";

/** Who writes to the client. */
export interface Watched {
  /** Whether nothing is left for the client to take. */
  readonly isDrained: boolean;
  /** Nothing is left: the watch may end. */
  unwatch(): void;
  /** The client has taken nothing for `sendTimeout` milliseconds although something was there. */
  stalled(): void;
}

/** Looks four times in each `sendTimeout` whether the client takes what is there. */
export class StallWatch implements Ticker {
  readonly #res: ServerResponse;
  readonly #watched: Watched;
  readonly #beat: Beat;
  #taken: number;
  #quarters = 0;

  constructor(res: ServerResponse, sendTimeout: number, watched: Watched) {
    this.#res = res;
    this.#watched = watched;
    this.#taken = taken(res);
    this.#beat = every(sendTimeout / 4, this);
  }

  stop(): void {
    this.#beat.stop();
  }

  tick(): void {
    const now = taken(this.#res);
    // A pipelined response has no socket before its turn: the client cannot take anything yet.
    const moved = now !== this.#taken || this.#res.socket === null;
    this.#taken = now;
    this.#quarters = moved ? 0 : this.#quarters + 1;
    if (this.#watched.isDrained) this.#watched.unwatch();
    else if (this.#quarters >= 4) this.#watched.stalled();
  }
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
