import type { ServerResponse } from "node:http";

/** Headers as they are given to `eventSource`: `undefined` removes one. */
export type HeadersOption = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Headers in the order in which they are set. */
export type HeaderList = readonly (readonly [name: string, value: HeadersOption[string]])[];

const defaults: HeadersOption = {
  // "The charset parameter may be given; its value must be utf-8": event streams are always UTF-8.
  "Content-Type": "text/event-stream; charset=utf-8",
  // Not to be kept, not to be rewritten: `compression` and proxies would hold events back.
  "Cache-Control": "no-store, no-transform",
  // nginx buffers what it proxies unless it is told not to.
  "X-Accel-Buffering": "no",
  // Set by a middleware that expected another body: the rest would be taken for the next response.
  "Content-Length": undefined,
};

/** The headers of an event stream: the library's own, and then those of the application, which are stronger. */
export function headerList(headers: HeadersOption): HeaderList {
  return [...Object.entries(defaults), ...Object.entries(headers)];
}

/** Sets the status and the headers of an event stream; they leave with the first write. */
export function setHead(res: ServerResponse, status: number, headers: HeaderList): void {
  res.statusCode = status;
  for (const [name, value] of headers) {
    if (value === undefined) res.removeHeader(name);
    else res.setHeader(name, value);
  }
}

/** Answers that there is nothing to stream: an EventSource that gets 204 does not come back. */
export function endWithoutContent(res: ServerResponse, headers: HeaderList): void {
  // The application's headers too: without its CORS headers a browser takes the answer for a network error and comes back.
  setHead(res, 204, headers);
  res.removeHeader("Content-Type");
  res.end();
}
