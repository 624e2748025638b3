import { isFunction, option, type Option, readOptions } from "./checks.js";
import { encodeOptions } from "./format/encode.js";
import type { EventStreamItem, LineEnding, Serialize, ServerSentEvent } from "./format/event.js";
import { checkHeaders } from "./response/check-headers.js";
import { type HeaderList, headerList, type HeadersOption } from "./response/head.js";
import type { EventStream } from "./source/event-stream.js";

/** Why a stream ended. */
export type CloseReason =
  /** The source ended, and the client has been sent everything. */
  | "completed"
  /** The client left, or something else ended the response while the source was waiting. */
  | "disconnected"
  /** The client took none of the bytes that were waiting for it within `sendTimeout`. */
  | "timeout"
  /** `maxDuration` passed. */
  | "expired"
  /** The server closed, or `shutdownSignal` aborted. */
  | "shutdown"
  /** The source, `toEvent`, `serialize`, `ping` or an item failed. */
  | "error";

/** What `onClose` is told about a stream that has ended. */
export interface StreamSummary {
  /** Why it ended. */
  readonly reason: CloseReason;
  /** The error, if the reason is `"error"`. */
  readonly error?: unknown;
  /** How many items of the source were sent. Pings and the first `retry` do not count. */
  readonly events: number;
  /** How many bytes were written, with the pings and without the head, before any compression. */
  readonly bytes: number;
  /** Milliseconds from the head to the end. */
  readonly duration: number;
}

/**
 * How a stream behaves. All options are checked when `eventSource` is called: an unknown or invalid one throws
 * `ERR_INVALID_OPTION`. Times are in milliseconds, up to 2147483647. `Item` is what the source yields.
 */
export interface EventSourceOptions<Item = EventStreamItem> {
  /**
   * The HTTP status: 200 to 599, except 204, 205 and 304, which have no body. An EventSource accepts 200 only; any
   * other status stops it for good.
   *
   * @default 200
   */
  readonly status?: number | undefined;
  /**
   * Headers to add. They override the library's own (`Content-Type`, `Cache-Control`, `X-Accel-Buffering`); `undefined`
   * removes a header, and an array sends one line for each value (`Set-Cookie`). An EventSource refuses
   * another `Content-Type`. `Content-Length` and `Transfer-Encoding` are refused.
   *
   * @example { "Cache-Control": "public, max-age=29", "X-Accel-Buffering": undefined }
   */
  readonly headers?: HeadersOption | undefined;
  /**
   * Milliseconds between pings. The first comes one interval after the head, and events do not delay the next one.
   * Pings keep proxies from closing an idle connection, and show the server that a client has gone. `false` or 0 turns
   * them off.
   *
   * @default 15_000
   */
  readonly pingInterval?: number | false | undefined;
  /**
   * Called for each ping, and returns what is sent. The page does not see a comment, but it does see an event. An error
   * that this function throws ends the stream, as if the source had failed.
   *
   * @default () => ({ comment: "ping" })
   */
  readonly ping?: (() => EventStreamItem) | undefined;
  /**
   * The reconnection time: how long the browser waits before it reconnects, in whole milliseconds ≥ 0. It is sent
   * before the first event. A function is called once for each stream, for example to spread clients out, and its
   * result is rounded. An error that it throws goes to `next`, as an ordinary HTTP error.
   *
   * @default none: the browser's own, about 3 s
   */
  readonly retry?: number | (() => number) | undefined;
  /**
   * Turns each item of the source into an event. Needed if the source yields objects of your own. An error that it
   * throws ends the stream, as if the source had failed.
   */
  readonly toEvent?: ((value: Item) => EventStreamItem) | undefined;
  /**
   * Turns `data` that is neither a string nor a bigint into a string. An error that it throws ends the stream, as if
   * the source had failed.
   *
   * @default JSON.stringify
   */
  readonly serialize?: Serialize | undefined;
  /**
   * How each line of the stream ends: `"\n"`, `"\r\n"` or `"\r"`. The last is there only for completeness: some parsers
   * then hold each event back until the next byte comes.
   *
   * @default "\n"
   */
  readonly lineEnding?: LineEnding | undefined;
  /**
   * Milliseconds after which a client is cut off if it has taken none of the bytes that wait for it. `false`: never.
   * Linux reports progress only each time a client has taken about a third of the send buffer (up to 4 MB). A client
   * that needs longer than `sendTimeout` for that much is cut off too: with the default, one that reads less than about
   * 25 kB a second. An EventSource reconnects. Behind compression the time counts only while the socket has bytes to send.
   *
   * @default 60_000
   */
  readonly sendTimeout?: number | false | undefined;
  /**
   * Milliseconds after which a stream ends, whether it is busy or idle. It ends at a random moment in the last tenth of
   * that time, so that clients do not all come back at once: an EventSource reconnects, with its `Last-Event-ID`.
   *
   * @default none: no limit
   */
  readonly maxDuration?: number | undefined;
  /**
   * When this signal aborts, the shutdown of the streams begins. A request that comes later gets only a reconnection
   * time, and its response ends: an EventSource reconnects until another process answers.
   */
  readonly shutdownSignal?: AbortSignal | undefined;
  /**
   * Whether `server.close()` begins the shutdown of the server's streams. Otherwise `close` waits until they end by
   * themselves.
   *
   * @default true
   */
  readonly endOnServerClose?: boolean | undefined;
  /**
   * Milliseconds from the abort of `stream.shutdown` to that of `stream.signal`: the time that a source has for its
   * last events.
   *
   * @default 0
   */
  readonly shutdownGracePeriod?: number | undefined;
  /**
   * Called for an error after the head has been sent. If it returns an event, that event is sent and the response ends
   * normally. If it returns nothing, the connection is cut, so that the client sees a failure, and the error goes to
   * `next`. If this function throws, both errors go to `next`. A promise counts as nothing and is not awaited; if it
   * rejects, that is handled as for a promise of `onClose`.
   */
  readonly onError?: ((error: unknown, stream: EventStream) => ServerSentEvent | void) | undefined;
  /**
   * Called exactly once for each stream whose head was sent, when it has ended. An error that it throws goes to `next`.
   * A promise that it returns is not awaited. If that rejects, the error goes to `next` too; if there is no `next`, or
   * it has been called already, the error becomes a process warning.
   */
  readonly onClose?: ((summary: StreamSummary) => void) | undefined;
}

/** The options for a source whose items are not events yet: `toEvent` is required. */
export interface ToEventOptions<Item> extends EventSourceOptions<Item> {
  readonly toEvent: (value: Item) => EventStreamItem;
}

/** Every option as a required key that may be `undefined`, with or without `exactOptionalPropertyTypes`. */
type Given = {
  readonly [Name in keyof Required<EventSourceOptions<never>>]: EventSourceOptions<never>[Name] | undefined;
};

/** The options that have a default. */
type Defaulted =
  | "status"
  | "pingInterval"
  | "ping"
  | "serialize"
  | "lineEnding"
  | "sendTimeout"
  | "endOnServerClose"
  | "shutdownGracePeriod";

/** The checked options, with their defaults filled in. */
export type Settings = { readonly headers: HeaderList } & {
  readonly [Name in Defaulted]: Exclude<Given[Name], undefined>;
} & { readonly [Name in Exclude<keyof Given, Defaulted | "headers">]: Given[Name] };

const ping: ServerSentEvent = { comment: "ping" };

/** The default and the check of each option. A new option needs a row here, and its type above. */
const table: { readonly [Name in keyof Settings]: Option<Settings[Name]> } = {
  status: option(200, isStatus, "a status from 200 to 599 that has a body (a source that is null answers 204)"),
  headers: { default: headerList(), read: checkHeaders },
  pingInterval: option<number | false>(
    15_000,
    (value) => value === false || value === 0 || isDelay(value),
    "a number of milliseconds up to 2147483647, or false for none",
  ),
  ping: option(() => ping, isFunction, "a function"),
  retry: option<Settings["retry"]>(
    undefined,
    (value) => isFunction(value) || (Number.isSafeInteger(value) && (value as number) >= 0),
    "a whole number of milliseconds ≥ 0 or a function that returns one",
  ),
  toEvent: option<Settings["toEvent"]>(undefined, isFunction, "a function"),
  serialize: encodeOptions.serialize,
  lineEnding: encodeOptions.lineEnding,
  sendTimeout: option<number | false>(
    60_000,
    (value) => value === false || isDelay(value),
    "a number of milliseconds from 1 to 2147483647, or false for never",
  ),
  maxDuration: option<number | undefined>(undefined, isDelay, "a number of milliseconds from 1 to 2147483647"),
  shutdownSignal: option<AbortSignal | undefined>(undefined, isSignal, "an AbortSignal"),
  endOnServerClose: option(true, (value) => typeof value === "boolean", "true or false"),
  shutdownGracePeriod: option(
    0,
    (value) => value === 0 || isDelay(value),
    "a number of milliseconds from 0 to 2147483647",
  ),
  onError: option<Settings["onError"]>(undefined, isFunction, "a function"),
  onClose: option<Settings["onClose"]>(undefined, isFunction, "a function"),
};

/**
 * Checks the options of `eventSource` and fills in the defaults.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function checkOptions(options: unknown): Settings {
  return readOptions<Settings>("eventSource", options, table);
}

/** The upper limit is Node's: a timer of more than 2³¹−1 ms fires at once. */
function isDelay(value: unknown): boolean {
  return typeof value === "number" && value >= 1 && value <= 2 ** 31 - 1;
}

function isStatus(value: unknown): boolean {
  const hasBody = value !== 204 && value !== 205 && value !== 304;
  return hasBody && Number.isInteger(value) && (value as number) >= 200 && (value as number) <= 599;
}

function isSignal(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  return typeof aborted === "boolean" && typeof addEventListener === "function";
}
