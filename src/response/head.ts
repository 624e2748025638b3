import type { ServerResponse } from "node:http";

/** Headers as they are given to `eventSource`: `undefined` removes one. */
export type HeadersInit = Readonly<Record<string, string | number | readonly string[] | undefined>>;

const defaults: HeadersInit = {
  // "The charset parameter may be given; its value must be utf-8": event streams are always UTF-8.
  "Content-Type": "text/event-stream; charset=utf-8",
  // Not to be kept, not to be rewritten: `compression` and proxies would hold events back.
  "Cache-Control": "no-store, no-transform",
  // nginx buffers what it proxies unless it is told not to.
  "X-Accel-Buffering": "no",
};

/** Sets the status and the headers of an event stream; they leave with the first write. */
export function setHead(res: ServerResponse, status: number, headers: HeadersInit): void {
  res.statusCode = status;
  // Set by a middleware that expected another body: the rest would be taken for the next response.
  res.removeHeader("Content-Length");
  apply(res, defaults);
  apply(res, headers);
}

/** Answers that there is nothing to stream: an EventSource that gets 204 does not come back. */
export function endWithoutContent(res: ServerResponse, headers: HeadersInit): void {
  // The application's headers too: without its CORS headers a browser takes the answer for a network error and comes back.
  setHead(res, 204, headers);
  res.removeHeader("Content-Type");
  res.end();
}

function apply(res: ServerResponse, headers: HeadersInit): void {
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) res.removeHeader(name);
    else res.setHeader(name, value);
  }
}
