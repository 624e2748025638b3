import type { ServerResponse } from "node:http";

/** The option `headers`: `undefined` removes a header. */
export type HeadersOption = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** The head of an event stream. Its headers are in the order in which they are set. */
export interface Head {
  readonly status: number;
  readonly headers: HeaderList;
}

export type HeaderList = readonly (readonly [name: string, value: HeadersOption[string]])[];

const defaults: HeadersOption = {
  // "The charset parameter may be given; its value must be utf-8": event streams are always UTF-8.
  "Content-Type": "text/event-stream; charset=utf-8",
  // Without no-transform, `compression` and proxies would hold events back.
  "Cache-Control": "no-store, no-transform",
  // nginx buffers what it proxies unless it is told not to.
  "X-Accel-Buffering": "no",
  // A middleware may have set a length for another body. Clients would take what exceeds it for the next response.
  "Content-Length": undefined,
};

/** The headers of an event stream: the library's own, overridden by the application's. */
export function headerList(headers: HeaderList = []): HeaderList {
  return [...Object.entries(defaults), ...headers];
}

/** Sets the status and the headers of an event stream; they leave with the first write. */
export function setHead(res: ServerResponse, { status, headers }: Head): void {
  setStatusAndHeaders(res, status, headers);
  // A cache must not give one client's resumed stream to another.
  if (!isNeverStored(res)) addToVary(res, "Last-Event-ID");
}

/** Sets the head of a 204: there is nothing to stream, and an EventSource stops reconnecting. */
export function setHeadWithoutContent(res: ServerResponse, { headers }: Head): void {
  // The application's headers are needed: without CORS headers a browser sees a network error, and reconnects.
  setStatusAndHeaders(res, 204, headers);
  res.removeHeader("Content-Type");
  // Not to be stored: later, or for another client, there may be events.
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
  // Most streams keep the default, and need no parsing.
  return (
    res.getHeader("Cache-Control") === defaults["Cache-Control"] || listOf(res, "Cache-Control").includes("no-store")
  );
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
