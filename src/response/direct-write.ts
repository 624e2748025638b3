import { OutgoingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Node's own `write`, inherited by every unwrapped response. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- compared, never called
const { write } = OutgoingMessage.prototype;

/** A response that `compression()` has wrapped: without a call of `flush`, it holds every event back. */
export type Flushable = ServerResponse & { flush?: () => void };

/** Whether no middleware has wrapped `write`. */
export function isBare(res: ServerResponse): boolean {
  return res.write === write;
}

/** How far a chunk has come. `"sent"`: in the kernel; `"waiting"`: buffered, with room for more; `"full"`: await `'drain'`. */
export type Progress = "sent" | "waiting" | "full";

/** Writes a chunk through whatever wraps the response. */
export function writeThrough(res: Flushable, chunk: string | Uint8Array): Progress {
  // Many wrappers return nothing. Ask Node only then: behind `compression`, `writableNeedDrain` lies.
  const hasRoom = (res.write(chunk) as boolean | undefined) ?? !res.writableNeedDrain;
  res.flush?.();
  return hasRoom ? "waiting" : "full";
}

/**
 * Writes a chunk of `length` bytes straight to the socket of a response that is unwrapped, and was when its head was sent.
 *
 * Node writes a chunk as a list of four pieces, which costs a small event more than everything else that happens to it.
 * Here a string goes to the socket in one piece, with the same bytes.
 */
export function writeChunk(socket: Socket, res: Flushable, chunk: string | Uint8Array, length: number): Progress {
  if (typeof chunk !== "string" || !leadsStraightTo(socket, res)) return writeThrough(res, chunk);
  // The empty write sends nothing; it makes the response emit 'drain' later.
  const hasRoom = socket.write(`${length.toString(16)}\r\n${chunk}\r\n`) || res.write("");
  if (!hasRoom) return "full";
  return socket.writableLength === 0 ? "sent" : "waiting";
}

/**
 * Whether the response owns this writable socket and is not corked. Each further read costs 1 µs: under Express 5 on
 * Node 20 every response has a shape of its own.
 */
function leadsStraightTo(socket: Socket, res: ServerResponse): boolean {
  return res.writableCorked === 0 && res.socket === socket && socket.writable;
}
