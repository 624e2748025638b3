import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { every } from "./metronome.js";

/**
 * Looks four times in each `sendTimeout` whether the client takes what is there. It begins with a write and stops by
 * itself when nothing is left, so an idle stream has none.
 */
export class StallWatch {
  readonly #res: ServerResponse;
  readonly #sendTimeout: number | false;
  readonly #isIdle: () => boolean;
  readonly #stalled: () => void;

  #stop: (() => void) | undefined;
  #taken = 0;
  #quarters = 0;

  /**
   * @param isIdle whether the writer waits for nothing
   * @param stalled called when the client has taken nothing for `sendTimeout` milliseconds although something was there
   */
  constructor(res: ServerResponse, sendTimeout: number | false, isIdle: () => boolean, stalled: () => void) {
    this.#res = res;
    this.#sendTimeout = sendTimeout;
    this.#isIdle = isIdle;
    this.#stalled = stalled;
  }

  begin(): void {
    if (this.#stop !== undefined || this.#sendTimeout === false) return;
    this.#quarters = 0;
    this.#stop = every(this.#sendTimeout / 4, this.#look);
    // Node hands what was written to the system at the end of this tick; only what moves after that is the client's doing.
    process.nextTick(() => (this.#taken = taken(this.#res)));
  }

  stop(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  readonly #look = (): void => {
    const now = taken(this.#res);
    // A pipelined response has no socket before its turn: the client cannot take anything yet.
    const moved = now !== this.#taken || this.#res.socket === null;
    this.#taken = now;
    this.#quarters = moved ? 0 : this.#quarters + 1;
    if (this.#isIdle() && this.#res.writableLength === 0) this.stop();
    else if (this.#quarters >= 4) this.#stalled();
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
