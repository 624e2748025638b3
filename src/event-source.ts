import type { NextFunction, Request, Response } from "express";
import { EventStreamError, show } from "./errors.js";
import type { EventStream, OpenSource } from "./source/event-stream.js";
import type { StreamableItem } from "./format/compile-time-checks.js";
import type { EventStreamItem } from "./format/event.js";
import { checkOptions, type EventSourceOptions, type ToEventOptions } from "./options.js";
import { isResponse } from "./response/is-response.js";
import { whenItsTurnComes } from "./response/pipelined.js";
import { Session } from "./stream/session.js";
import { isReadable } from "./source/readers.js";

/** What can be streamed: an async iterable (a generator, a stream, a cursor, …), or an iterable other than a string. */
type Readable<Item, Checked> =
  | (AsyncIterable<Item> & AsyncIterable<Checked>)
  | (Iterable<Item | PromiseLike<Item>> & Iterable<Checked | PromiseLike<Checked>> & object);

/** A source. TypeScript infers its items as `Item`, and then compares them with `Checked`. */
type Source<Item, Params, Checked> =
  | Readable<Item, Checked>
  | ((
      req: Request<Params>,
      stream: EventStream,
    ) => Readable<Item, Checked> | null | PromiseLike<Readable<Item, Checked> | null>);

/**
 * Where a stream's items come from: an iterable that can be iterated once for each request, or a function that is
 * called for each request and returns an iterable, `null`, or a promise of one of these. `null` means that there is
 * nothing to stream: the answer is 204, and an EventSource does not reconnect. A function may also answer by itself,
 * for example with a 401, and then return `null`; a generator then ends without an item.
 */
export type EventStreamSource<Item = EventStreamItem, Params = Record<string, string>> = Source<Item, Params, Item>;

/**
 * A `RequestHandler` for routes with these parameters. The handler of any other route may call it too. It is declared
 * here because it returns a promise, and the `RequestHandler` of `@types/express` 4 returns nothing.
 */
export type EventSourceHandler<Params = Record<string, string>> = (
  req: Request<Params> | Request<object>,
  res: Response,
  next?: NextFunction,
) => Promise<void>;

/**
 * Answers a request with an event stream: each item of `source` becomes one event.
 *
 * The returned handler is an ordinary Express `RequestHandler`: give it to a route, or call it with
 * `(req, res, next)` at the end of a handler of your own. It answers requests of any method, whether or not their body
 * has been parsed. Its promise resolves when the stream has ended, whatever the reason, and errors go to `next`.
 * Without `next`, the promise rejects with the error that `next` would have got.
 *
 * - The response headers are sent with the first event, or after one turn of the event loop. If the source fails before
 *   that, the answer is an ordinary HTTP error, through `next(error)`. If the source ends before that, without an item,
 *   the answer is 204, which stops an EventSource.
 * - The next item is asked for when the client has room for it.
 * - When the client leaves, `stream.signal` aborts and the iterator's `return()` is called.
 * - When the source ends, the response ends. A browser's EventSource takes that for a lost connection and reconnects
 *   with `Last-Event-ID`. If nothing is left then, return `null`.
 *
 * @param source an async iterable, an iterable, or `(req, stream) =>` one of those, `null`, or a promise
 * @param options see {@link EventSourceOptions}
 * @throws {EventStreamError} at once: `ERR_INVALID_SOURCE` for what cannot be a source, `ERR_INVALID_OPTION` for an
 *   unknown option or an invalid value
 * @example app.get("/time", eventSource(async function* (req, { signal }) { … }))
 */
export function eventSource<Params = Record<string, string>, Item = unknown>(
  source: EventStreamSource<Item, Params>,
  options: ToEventOptions<Item>,
): EventSourceHandler<Params>;
/**
 * For a function that returns a subscription or, in its place, a few events:
 * `(req, stream) => broker.subscribe(…).catch(() => [{ retry: 5_000 }])`.
 */
export function eventSource<Params = Record<string, string>, Item = EventStreamItem, Fallback = EventStreamItem>(
  source: (
    req: Request<Params>,
    stream: EventStream,
  ) => PromiseLike<
    AsyncIterable<Item & StreamableItem<Item>> | readonly (Fallback & StreamableItem<Fallback>)[] | null
  >,
  options?: EventSourceOptions<Item | Fallback>,
): EventSourceHandler<Params>;
export function eventSource<Params = Record<string, string>, Item = EventStreamItem>(
  source: Source<Item, Params, StreamableItem<Item>>,
  options?: EventSourceOptions<Item>,
): EventSourceHandler<Params>;
export function eventSource(source: unknown, options: unknown = {}): EventSourceHandler<unknown> {
  // In `eventSource(req, res)` the request would pass for a source, because it is an async iterable.
  if (isResponse(options)) {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      "eventSource was given a request and a response; it returns the handler and is not one itself, " +
        "so call it: eventSource(source).",
    );
  }
  if (typeof source !== "function" && !isReadable(source)) {
    throw new EventStreamError(
      "ERR_INVALID_SOURCE",
      `The source of eventSource is ${show(source)}; it must be an async iterable, an iterable, ` +
        "or a function that returns one or a promise of one.",
    );
  }
  const settings = checkOptions(options);
  const open: OpenSource = typeof source === "function" ? (source as OpenSource) : () => source;

  return function eventSourceHandler(req, res, next) {
    return new Promise((resolve) => {
      const begin = (): void => new Session(settings, req as Request, res, next, resolve).run(open);
      whenItsTurnComes(req, res, begin, () => resolve());
    });
  };
}
