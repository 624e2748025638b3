import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * Whether the client has left already. Looked at first: a listener that is added after `'close'`
 * never fires.
 */
export function isClientGone(req: IncomingMessage, res: ServerResponse): boolean {
  return req.socket.destroyed || res.destroyed || res.closed;
}
