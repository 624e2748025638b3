import { OutgoingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Node's own, wherever a response has it from. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- it is compared, not called
const { write } = OutgoingMessage.prototype;

/** `compression()` gives the response this method; without the call it holds every event back. */
export type Flushable = ServerResponse & { flush?: () => void };

/**
 * Writes a chunk of `length` bytes to a response whose head has left with an earlier one.
 *
 * Node frames a chunk in four pieces and hands them over as a list, which costs a small event more than everything else
 * that happens to it. Where nobody has put himself between, a string goes to the socket in one piece: the same bytes.
 *
 * @returns false where the next one should wait for the response's `'drain'`
 */
export function writeChunk(res: Flushable, chunk: string | Uint8Array, length: number): boolean {
  const { socket } = res;
  if (typeof chunk !== "string" || socket === null || !isDirect(res, socket)) return writeThrough(res, chunk);
  // An empty write sends nothing. It tells the response that somebody waits for room.
  return socket.write(`${length.toString(16)}\r\n${chunk}\r\n`) || res.write("");
}

/** Writes a chunk, the first one too, through whatever wraps the response. */
export function writeThrough(res: Flushable, chunk: string | Uint8Array): boolean {
  const hasRoom = res.write(chunk);
  res.flush?.();
  return hasRoom;
}

/** Whether what is written to the response goes to the socket at once, as chunks of HTTP/1.1, and through nobody's hands. */
function isDirect(res: ServerResponse, socket: Socket): boolean {
  return res.write === write && res.chunkedEncoding && res.writableCorked === 0 && res.writableLength === socket.writableLength;
}
