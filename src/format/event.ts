/**
 * One event, or one comment, of an event stream. Every field is optional, but at least one must be present. A field
 * that is `undefined` is left out. The library never changes an event it is given.
 */
export interface ServerSentEvent {
  /**
   * What the client gets as `event.data`. A string is sent as it is, and a bigint as its digits. Anything else goes
   * through `serialize` (by default `JSON.stringify`). The browser does not dispatch an event without `data`, but does
   * dispatch one with `data: ""`.
   */
  readonly data?: unknown;
  /**
   * The type under which the browser dispatches the event: `source.addEventListener(event, …)`. Without it, the type
   * is `"message"`, and `source.onmessage` gets the event. No line breaks. Avoid `"error"` and `"open"`, which the
   * browser uses itself.
   */
  readonly event?: string | undefined;
  /**
   * The last event ID from here on: the browser sends it as the header `Last-Event-ID` when it
   * reconnects. `""` resets it, so that none is sent. No line breaks, no NUL.
   */
  readonly id?: string | number | undefined;
  /** The reconnection time from here on: whole milliseconds ≥ 0 that the browser waits before it reconnects. */
  readonly retry?: number | undefined;
  /**
   * Text that every client ignores, sent as one comment for each line. It keeps a connection alive, and people who
   * watch the traffic can read it.
   */
  readonly comment?: string | undefined;
}

/**
 * What a source may yield. A string, number, bigint or boolean becomes the `data` of an event without other fields. A
 * `Uint8Array` holds frames that were encoded elsewhere, whole or in pieces, and is sent unchanged. No ping lands in the
 * middle of such a frame.
 */
export type EventStreamItem = string | number | bigint | boolean | ServerSentEvent | Uint8Array;

/** How each line of an event stream ends. All three are legal and parsed alike. */
export type LineEnding = "\n" | "\r\n" | "\r";

/** Turns `data` that is neither a string nor a bigint into a string. */
export type Serialize = (data: unknown) => string;
