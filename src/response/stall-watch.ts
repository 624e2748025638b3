import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Beat, every, type Ticker } from "./metronome.js";

/** Who writes to the client. */
export interface Watched {
  /** Whether it waits for nothing. */
  readonly isWritable: boolean;
  /** The client has taken nothing for `sendTimeout` milliseconds although something was there. */
  stalled(): void;
}

/**
 * Looks four times in each `sendTimeout` whether the client takes what is there. It begins with a write and stops by
 * itself when nothing is left, so an idle stream has none.
 */
export class StallWatch implements Ticker {
  readonly #res: ServerResponse;
  readonly #sendTimeout: number | false;
  readonly #watched: Watched;

  #beat: Beat | undefined;
  #taken = 0;
  #quarters = 0;

  constructor(res: ServerResponse, sendTimeout: number | false, watched: Watched) {
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#watched = watched;
  }

  begin(): void {
    if (this.#beat !== undefined || this.#sendTimeout === false) return;
    this.#quarters = 0;
    this.#beat = every(this.#sendTimeout / 4, this);
    // Node hands what was written to the system at the end of this tick; only what moves after that is the client's doing.
    process.nextTick(() => (this.#taken = taken(this.#res)));
  }

  stop(): void {
    this.#beat?.stop();
    this.#beat = undefined;
  }

  tick(): void {
    const now = taken(this.#res);
    // A pipelined response has no socket before its turn: the client cannot take anything yet.
    const moved = now !== this.#taken || this.#res.socket === null;
    this.#taken = now;
    this.#quarters = moved ? 0 : this.#quarters + 1;
    if (this.#watched.isWritable && this.#res.writableLength === 0) this.stop();
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
