/**
 * What went wrong, as a code that a program can compare. A new code comes only with a new minor version, and no code
 * changes its meaning.
 */
export type EventStreamErrorCode =
  /** An option of `eventSource`, `encodeEvent` or a broker is unknown or has an invalid value. */
  | "ERR_INVALID_OPTION"
  /** The source is not an async iterable, an iterable, or a function that returns one. */
  | "ERR_INVALID_SOURCE"
  /** A one-shot iterator or stream reached a second request. */
  | "ERR_SOURCE_CONSUMED"
  /** The response had already begun when `eventSource` was asked to answer. */
  | "ERR_HEADERS_SENT"
  /** Something else has ended the response of a stream that had more to send. */
  | "ERR_RESPONSE_ENDED"
  /** An item cannot be an event: for example `null`, a function, a symbol, or bytes where text is needed. */
  | "ERR_INVALID_ITEM"
  /** An event has a key that is not one of `data`, `event`, `id`, `retry`, `comment`. */
  | "ERR_UNKNOWN_FIELD"
  /** A field has the wrong type, or holds a character that would start another field. */
  | "ERR_INVALID_FIELD"
  /** An event has no field at all. */
  | "ERR_EMPTY_EVENT"
  /** `serialize` failed for `data`, or returned something that is not a string. */
  | "ERR_UNSERIALIZABLE_DATA"
  /** A channel's name is not a well-formed string of 1 to 512 UTF-16 units. The error's `status` is 400. */
  | "ERR_INVALID_CHANNEL"
  /** The channel has been ended. */
  | "ERR_CHANNEL_ENDED"
  /** The channel has a producer: only the producer itself or `stop` can end it. */
  | "ERR_CHANNEL_PRODUCED"
  /** The broker has been closed. */
  | "ERR_BROKER_CLOSED"
  /** The broker's store could not be reached, or did not answer in time. */
  | "ERR_BROKER_UNAVAILABLE"
  /** The broker's store holds, under this channel's key, something the broker did not write. */
  | "ERR_FOREIGN_ENTRY";

// The ESM and the CommonJS build each have a class of their own. With the brand, `instanceof` takes both for one.
const brand = Symbol.for("express-event-source.EventStreamError");

/**
 * The one error class of this library: a `TypeError` with a closed list of codes.
 * Its message is for the developer and is never sent to a client.
 */
export class EventStreamError extends TypeError {
  static {
    Object.defineProperty(this.prototype, brand, { value: true });
    Object.defineProperty(this.prototype, "name", { value: "EventStreamError", configurable: true, writable: true });
  }

  /** What went wrong. */
  readonly code: EventStreamErrorCode;

  /** The name of the wrong field or option, if the error is about one. */
  readonly field: string | undefined;

  /** The HTTP status with which Express's own error handler answers. Set only if the error is the client's mistake. */
  declare readonly status?: number;

  constructor(
    code: EventStreamErrorCode,
    message: string,
    details?: { field?: string; cause?: unknown; status?: number },
  ) {
    super(message, details !== undefined && "cause" in details ? { cause: details.cause } : undefined);
    this.code = code;
    this.field = details?.field;
    if (details?.status !== undefined) this.status = details.status;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (this !== EventStreamError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return typeof value === "object" && value !== null && brand in value;
  }
}

/**
 * Shows a value in an error message: its type and the beginning of its content, on one line. The value may come from a
 * client, so this never throws, and no value can start a new line in a log.
 */
export function show(value: unknown): string {
  try {
    if (typeof value === "string") return JSON.stringify(short(value));
    if (typeof value === "bigint") return `${short(String(value))}n`;
    if (typeof value === "function") return value.name === "" ? "a function" : `function ${plain(value.name)}`;
    return typeof value === "object" && value !== null ? showObject(value) : plain(String(value));
  } catch {
    return "an object that cannot be looked at";
  }
}

function showObject(value: object): string {
  if (Array.isArray(value)) return `an array of ${value.length}`;
  // Read from the prototype, because data may have a key called "constructor".
  const name = (Object.getPrototypeOf(value) as object | null)?.constructor.name ?? "Object";
  // A generator's constructor has no name.
  const kind = name === "" ? (value as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] : name;
  if (kind !== undefined && kind !== "Object") return `an instance of ${plain(kind)}`;
  const keys = Object.keys(value);
  const shown = keys.slice(0, 4).map((key) => (/^[\w$]{1,60}$/.test(key) ? key : show(key)));
  return keys.length === 0 ? "{}" : `{ ${shown.join(", ")}${keys.length > 4 ? ", …" : ""} }`;
}

function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function plain(text: string): string {
  return short(text).replace(/\p{Cc}|\u2028|\u2029/gu, "\uFFFD");
}

/** The error for a source function that has returned nothing. */
export function nothingReturned(): EventStreamError {
  return new EventStreamError(
    "ERR_INVALID_SOURCE",
    "The function that makes the source returned undefined; return an iterable, or null for 204.",
  );
}

export function headersSent(): EventStreamError {
  return new EventStreamError(
    "ERR_HEADERS_SENT",
    "The response has already begun, so it cannot become an event stream; call eventSource before anything is written.",
  );
}

export function responseEnded(): EventStreamError {
  return new EventStreamError(
    "ERR_RESPONSE_ENDED",
    "Something else has ended the response while the stream had more to send; " +
      "leave the response to eventSource, and end the source instead.",
  );
}
