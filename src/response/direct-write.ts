import { OutgoingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Node's own, wherever a response has it from. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- it is compared, not called
const { write } = OutgoingMessage.prototype;

/** `compression()` gives the response this method; without the call it holds every event back. */
export type Flushable = ServerResponse & { flush?: () => void };

/** Whether nobody has put himself between, on this response or on those of its server: `write` is the one that all have from Node. */
export function isBare(res: ServerResponse): boolean {
  return res.write === write;
}

/** How far a chunk has come: it is with the system, it may still wait but there is room for more, or what comes next must wait for the response's `'drain'`. */
export type Progress = "sent" | "waiting" | "full";

/** Writes a chunk through whatever wraps the response. */
export function writeThrough(res: Flushable, chunk: string | Uint8Array): Progress {
  // Many a wrapper returns nothing. Only then is Node asked: behind `compression`, `writableNeedDrain` lies.
  const hasRoom = (res.write(chunk) as boolean | undefined) ?? !res.writableNeedDrain;
  res.flush?.();
  return hasRoom ? "waiting" : "full";
}

/**
 * Writes a chunk of `length` bytes to the socket of a response that is bare, and was when it gave this socket its head.
 *
 * Node frames a chunk in four pieces and hands them over as a list, which costs a small event more than everything else
 * that happens to it. Here a string goes to the socket in one piece: the same bytes.
 */
export function writeChunk(socket: Socket, res: Flushable, chunk: string | Uint8Array, length: number): Progress {
  if (typeof chunk !== "string" || !leadsStraightTo(socket, res)) return writeThrough(res, chunk);
  // An empty write sends nothing. It tells the response that somebody waits for room.
  const hasRoom = socket.write(`${length.toString(16)}\r\n${chunk}\r\n`) || res.write("");
  if (!hasRoom) return "full";
  return socket.writableLength === 0 ? "sent" : "waiting";
}

/**
 * Whether what the response is given goes to this socket at once: it is still the response's own, nobody holds anything back, and it takes more.
 * No more than this is asked: under Express 5 on Node 20 each response has a shape of its own, and each look at one costs a microsecond.
 */
function leadsStraightTo(socket: Socket, res: ServerResponse): boolean {
  return res.writableCorked === 0 && res.socket === socket && socket.writable;
}
