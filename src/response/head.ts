import type { ServerResponse } from "node:http";

/** Headers as they are given to `eventSource`: `undefined` removes one. */
export type HeadersOption = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** The head of an event stream: its headers stand in the order in which they are set. */
export interface Head {
  readonly status: number;
  readonly headers: HeaderList;
}

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
export function setHead(res: ServerResponse, { status, headers }: Head): void {
  setStatusAndHeaders(res, status, headers);
  // What one client gets after its last event ID is not for another.
  if (!isNeverStored(res)) addToVary(res, "Last-Event-ID");
}

/** Sets the head of an answer that there is nothing to stream: an EventSource that gets 204 does not come back. */
export function setHeadWithoutContent(res: ServerResponse, { headers }: Head): void {
  // The application's headers too: without its CORS headers a browser takes the answer for a network error and comes back.
  setStatusAndHeaders(res, 204, headers);
  res.removeHeader("Content-Type");
  // Events are to be had later, or for others.
  if (!isNeverStored(res)) res.setHeader("Cache-Control", "no-store");
}

function setStatusAndHeaders(res: ServerResponse, status: number, headers: HeaderList): void {
  res.statusCode = status;
  for (const [name, value] of headers) {
    if (value === undefined) res.removeHeader(name);
    else res.setHeader(name, value);
  }
}

function isNeverStored(res: ServerResponse): boolean {
  return listOf(res, "Cache-Control").includes("no-store");
}

function addToVary(res: ServerResponse, name: string): void {
  const names = listOf(res, "Vary");
  if (names.includes("*") || names.includes(name.toLowerCase())) return;
  const vary = res.getHeader("Vary");
  res.setHeader("Vary", names.length === 0 ? name : `${[vary].flat().join(", ")}, ${name}`);
}

/** The members of a header that is a list, in lower case. */
function listOf(res: ServerResponse, name: string): string[] {
  const members = String(res.getHeader(name) ?? "").split(",");
  return members.map((member) => member.trim().toLowerCase()).filter((member) => member !== "");
}
