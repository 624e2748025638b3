import type { IncomingMessage } from "node:http";

/**
 * The `Last-Event-ID` that the client sent: the `id` of the last event that reached it.
 *
 * By the standard, clients send it as UTF-8, but Node decodes every header as latin1. Bytes that are not valid UTF-8
 * become U+FFFD, so the application sees an ID that it never issued.
 */
export function lastEventId(req: IncomingMessage): string | undefined {
  const header = req.headers["last-event-id"];
  if (header === undefined || header === "") return undefined;
  return Buffer.from(String(header), "latin1").toString("utf8");
}
