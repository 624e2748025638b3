import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * Whether the client has left already. Looked at first: a listener that is added after `'close'`
 * never fires.
 */
export function isClientGone(req: IncomingMessage, res: ServerResponse): boolean {
  return res.destroyed || res.closed || req.socket.destroyed;
}

/**
 * Calls `gone` when the client leaves, unless the function it returns is called before. It may be
 * called more than once.
 */
export function onClientGone(req: IncomingMessage, res: ServerResponse, gone: () => void): () => void {
  const { socket } = req;
  // The request's own 'close' also means that its body was read: at once after `express.json()`.
  const requestClosed = (): void => {
    if (socket.destroyed) gone();
  };
  res.on("close", gone);
  req.on("close", requestClosed);
  // A pipelined response has no socket before its turn, and its 'close' may never come.
  const pipelined = res.socket === null;
  if (pipelined) socket.on("close", gone);
  return () => {
    res.off("close", gone);
    req.off("close", requestClosed);
    if (pipelined) socket.off("close", gone);
  };
}
