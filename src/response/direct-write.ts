import { OutgoingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { StreamEvents } from "./stream-events.js";

/** Node's own `write`, inherited by every unwrapped response. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const { write } = OutgoingMessage.prototype;

/** A response that `compression()` may wrap. That adds `flush`, and holds every event back until `flush` is called. */
export type Flushable = ServerResponse & { flush?: () => void };

/**
 * How far a chunk has come. `"sent"`: it is in the kernel. `"waiting"`: it may be buffered, and there is room for more.
 * `"full"`: wait for `'drain'` before the next chunk.
 */
export type Progress = "sent" | "waiting" | "full";

/**
 * Writes chunks to a response: straight to its socket if nothing wraps the response, and through the wrapper otherwise.
 *
 * Node writes a chunk as a list of four pieces. For a small event, that costs more than everything else together. Here
 * a string goes to the socket in one piece, with the same bytes.
 */
export class ChunkWriter {
  protected readonly res: Flushable;
  protected readonly events: StreamEvents;
  /**
   * The response's socket, if chunks may go straight to it; `null` if they may not; `undefined` before the first chunk.
   */
  #socket: Socket | null | undefined;

  constructor(res: Flushable, events: StreamEvents) {
    this.res = res;
    this.events = events;
  }

  /** Writes a chunk of `length` bytes. */
  protected writeChunk(chunk: string | Uint8Array, length: number): Progress {
    const { res } = this;
    const isBare = res.write === write;
    if (!isBare) this.#socket = null;
    const socket = this.#socket;
    if (socket && typeof chunk === "string" && leadsStraightTo(socket, res)) {
      return writeDirectly(socket, res, chunk, length);
    }
    // This may be running in a tick or a drain that belongs to another request.
    const progress = this.events.runInAsyncScope(() => writeThrough(res, chunk));
    // The first chunk carries the head. If that write went through a wrapper, the head may still be held back, and no
    // later chunk may overtake it.
    if (socket === undefined) this.#socket = isBare && res.chunkedEncoding ? res.socket : null;
    return progress;
  }

  /** Whether no bytes wait for the client, as far as that can be seen. */
  get isDrained(): boolean {
    // A corked response may hold bytes that its socket does not know of yet.
    const holder = this.#socket?.writableCorked === 0 ? this.#socket : this.res;
    return holder.writableLength === 0;
  }

  /** Whether a wrapper may hold bytes that cannot be seen from here. */
  get mayHideBytes(): boolean {
    return !this.#socket;
  }
}

/** Writes a chunk through whatever wraps the response. */
function writeThrough(res: Flushable, chunk: string | Uint8Array): Progress {
  // Many wrappers return nothing. Ask Node only then, because `writableNeedDrain` is wrong behind `compression`.
  const hasRoom = (res.write(chunk) as boolean | undefined) ?? !res.writableNeedDrain;
  res.flush?.();
  return hasRoom ? "waiting" : "full";
}

function writeDirectly(socket: Socket, res: ServerResponse, chunk: string, length: number): Progress {
  // A chunk with as many bytes as characters is ASCII. Node writes up to 16 kB of latin1 without allocating memory for
  // the bytes.
  const encoding = length === chunk.length ? "latin1" : "utf8";
  // `res.write("")` sends nothing; it makes the response emit 'drain' later.
  const hasRoom = socket.write(`${length.toString(16)}\r\n${chunk}\r\n`, encoding) || res.write("");
  if (!hasRoom) return "full";
  return socket.writableLength === 0 ? "sent" : "waiting";
}

/**
 * Whether the response owns this writable socket and is not corked. It reads as few properties as it can: each costs
 * 1 µs, because under Express 5 on Node 20 every response has a shape (hidden class) of its own.
 */
function leadsStraightTo(socket: Socket, res: ServerResponse): boolean {
  return res.writableCorked === 0 && res.socket === socket && socket.writable;
}
