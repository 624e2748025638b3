import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/**
 * Whether the client has left already. Check this before you wait for `'close'`: a listener that is added after that
 * event is never called.
 */
export function isClientGone(req: IncomingMessage, res: ServerResponse): boolean {
  // Some test doubles have no socket.
  const socket = req.socket as Socket | undefined;
  return socket?.destroyed === true || res.destroyed || res.closed;
}
