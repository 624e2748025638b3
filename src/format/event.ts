/**
 * One event, or one comment, of an event stream. Every field is optional, at least one is present;
 * a field that is `undefined` is left out. The library never changes an event it is given.
 */
export interface ServerSentEvent {
  /**
   * What the client gets as `event.data`. A string is sent as it is, anything else through
   * `serialize` (by default `JSON.stringify`). An event without `data` is not dispatched by the
   * browser; `data: ""` is, with an empty string.
   */
  readonly data?: unknown;
  /**
   * The type that the browser dispatches it under: `source.addEventListener(event, …)`. Without it
   * the type is `"message"` and reaches `source.onmessage`. No line breaks. Avoid `"error"` and
   * `"open"`, which the browser uses itself.
   */
  readonly event?: string | undefined;
  /**
   * The last event ID from here on: the browser sends it as the header `Last-Event-ID` when it
   * reconnects. `""` resets it, so that none is sent. No line breaks, no NUL.
   */
  readonly id?: string | number | undefined;
  /** The reconnection time from here on: whole milliseconds, ≥ 0, that the browser waits after a loss. */
  readonly retry?: number | undefined;
  /**
   * Text that every client ignores, one comment for each of its lines: for keeping alive and for people who watch the
   * wire.
   */
  readonly comment?: string | undefined;
}

/**
 * What a source may yield. A string, number, bigint or boolean is the `data` of an event that has
 * nothing else. A `Uint8Array` holds whole frames that were encoded elsewhere and is sent unchanged.
 */
export type EventStreamItem = string | number | bigint | boolean | ServerSentEvent | Uint8Array;

/** How each line of an event stream ends. All three are legal and parsed alike. */
export type LineEnding = "\n" | "\r\n" | "\r";

/** Turns `data` that is not a string into one. */
export type Serialize = (data: unknown) => string;
