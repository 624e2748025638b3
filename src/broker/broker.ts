import type { PublishableEvent, PublishableEvents } from "../format/compile-time-checks.js";
import type { ServerSentEvent } from "../format/event.js";

/** How much of a channel is kept for clients that come back. */
export interface HistoryOptions {
  /**
   * How many events of each channel are kept, at least 1.
   *
   * @default 1000
   */
  readonly maxEvents?: number | undefined;
  /**
   * Whole milliseconds for which an event is kept, at least 1.
   *
   * @default 300_000 (five minutes)
   */
  readonly maxAge?: number | undefined;
}

/**
 * Where a subscription begins, and what ends it. Pass an `EventStream` as it is: `broker.subscribe(channel, stream)`.
 */
export interface SubscribeOptions {
  /**
   * The `id` of the last event that the client got: the subscription begins just after it. An ID that the channel does
   * not know leads to a gap, never to an error. It takes precedence over `from`. An empty string counts as no ID.
   */
  readonly lastEventId?: string | undefined;
  /**
   * Where to begin without a `lastEventId`: with what is published from now on, or with everything that is held.
   *
   * @default "now"
   */
  readonly from?: "now" | "start" | undefined;
  /** Ends the subscription when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Called if events are missing; returns the event that the subscriber gets, or `undefined` for none. An error that it
   * throws ends the subscription.
   *
   * @default () => ({ event: "gap", data: { lastEventId } })
   */
  readonly onGap?: (() => ServerSentEvent | undefined) | undefined;
}

/**
 * An event as a subscriber gets it. Its fields are as they were when it was published, with `data` as JSON carries it,
 * and its `id` is the broker's. It is frozen, because all subscribers share one object. To change it, make a copy:
 * `{ ...event, data: … }`.
 *
 * Or the broker's notice that events are missing here: `event: "gap"`, the only event without an `id`. A filter must
 * let it pass: `if (event.id === undefined) yield event;`.
 */
export type PublishedEvent<E extends ServerSentEvent = ServerSentEvent> =
  | (E extends unknown ? Readonly<Omit<E, "id">> & Pick<ServerSentEvent, "event"> & { readonly id: string } : never)
  | { readonly event: "gap"; readonly data: { readonly lastEventId: string | undefined }; readonly id?: undefined };

/** What a producer's source gets. */
export interface Producer {
  /**
   * Aborts when nothing that the source yields will be published any more: its reason is `"stopped"`, `"lost"`, or the
   * error of an item that was refused. Pass it to everything that the source awaits.
   */
  readonly signal: AbortSignal;
}

/** How a production ended: its source ended, `stop` or `close` ended it, or its lease ran out before it was renewed. */
export type ProductionOutcome = "completed" | "stopped" | "lost";

/** A channel that is being filled by this process. */
export interface Production {
  /**
   * How the production ended. Rejects, with the error, only if the source failed or an item was refused. A rejection
   * that nobody handles is ignored.
   */
  readonly done: Promise<ProductionOutcome>;
}

/** How a channel is produced. */
export interface ProduceOptions<E extends ServerSentEvent = ServerSentEvent> {
  /**
   * Milliseconds for which the producer keeps the channel without renewing its claim, at least 1000. A process that
   * stands still, or cannot reach the store, for longer loses the channel. If the process dies, the subscribers are
   * told within this time plus two seconds. In memory, no lease runs out.
   *
   * @default 15_000
   */
  readonly lease?: number | undefined;
  /**
   * Called if the source fails; returns the event that subscribers get, `null` for none, or `undefined` for the
   * default. They also get the default if this function throws or its event is refused. It is not awaited.
   *
   * @default () => ({ event: "failed", data: "" })
   */
  readonly onError?: ((error: unknown) => E | null | undefined | void) | undefined;
}

/**
 * Channels of events, each a bounded log that any number of subscriptions read at their own pace.
 * `E` is the application's event type.
 *
 * **Order.** All subscriptions see the events of a channel in the same order: that in which `publish` stored them. No
 * order is guaranteed between channels.
 *
 * **Nothing is lost silently, nothing comes twice.** A subscription yields each event after its position exactly once.
 * If the next event has left the log (an unknown ID, an ID from before a restart, a subscriber that is too slow), the
 * subscription first yields a `gap`, then everything that is still held.
 *
 * **Memory.** A slow subscriber has no queue, only a cursor that lags behind. A channel that nobody waits for is
 * forgotten, together with the mark of its end, soon after its last event has aged out. A client that comes back later
 * gets a `gap`. A channel that never had an event costs nothing once its subscriptions have ended.
 *
 * **Names.** A channel's name is a well-formed string of 1 to 512 UTF-16 units. Any other is refused with
 * `ERR_INVALID_CHANNEL`, whose `status` is 400, because names often come from URLs.
 */
export interface Broker<E extends ServerSentEvent = ServerSentEvent> {
  /**
   * Appends an event to a channel.
   *
   * The event is encoded at once, so what the application does to the object afterwards has no effect.
   *
   * @param event a `ServerSentEvent` without an `id`, which the broker assigns
   * @returns the event's id, once the event is stored; every subscription that began before gets it
   * @throws {EventStreamError} (as a rejection) `ERR_INVALID_FIELD` for an event with an `id` of its own; the codes of
   *   `encodeEvent` for one that cannot be sent; `ERR_INVALID_CHANNEL`; `ERR_CHANNEL_ENDED`; `ERR_BROKER_CLOSED`;
   *   `ERR_BROKER_UNAVAILABLE` if the store does not answer. Only in the last case may the event have been stored all the same.
   */
  publish<T extends E>(channel: string, event: (T | E) & PublishableEvent<T>): Promise<string>;

  /**
   * Publishes everything that `source` yields, each event once the previous one is stored, then ends the channel. If
   * the source fails or an event is refused, the promise rejects and the channel does not end: publish what the
   * subscribers should know, then call `end`.
   *
   * @throws {EventStreamError} (as a rejection) as `publish` and `end` do; `ERR_INVALID_SOURCE` for what is not iterable;
   *   the source's own error, unchanged
   */
  publishAll<T extends E>(channel: string, source: PublishableEvents<T>): Promise<void>;

  /**
   * Marks a channel as finished: subscriptions end after its last event, later ones replay and end,
   * and `publish` rejects, until the channel is forgotten. Ending twice is no error.
   *
   * @throws {EventStreamError} (as a rejection) `ERR_CHANNEL_PRODUCED` while the channel has a producer;
   *   `ERR_INVALID_CHANNEL`, `ERR_BROKER_CLOSED`, `ERR_BROKER_UNAVAILABLE`
   */
  end(channel: string): Promise<void>;

  /**
   * Subscribes to a channel, or to several as one stream. Pass the stream as the options, as in
   * `broker.subscribe(channel, stream)`: without its `lastEventId` a client that comes back gets no replay, and without
   * its `signal` the subscription does not end with the stream by itself.
   *
   * Keep to 200 channels. In a store, the id grows by up to 25 characters with each, and clients send it back in a
   * header. Where that is too long (Node: 16 kB, many proxies: 8 kB), the answer is an error status, which stops an
   * `EventSource` for good.
   *
   * @returns once the subscription has its position: every event that is published after that is delivered. The
   *   iterable can be iterated once. If nothing is left and nothing can come (an ended channel, read to its end), it is
   *   empty at once, so that `eventSource` answers 204.
   * @throws {EventStreamError} (as a rejection) `ERR_INVALID_CHANNEL`, `ERR_INVALID_OPTION`, `ERR_BROKER_CLOSED`,
   *   `ERR_BROKER_UNAVAILABLE`
   */
  subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>>;

  /**
   * Fills a channel from a source that must run only once, in the process that asks first: an LLM's answer, an export.
   * Subscribers with `from: "start"` get all of it, at any time and in any process.
   *
   * `source` is called when the channel has been claimed. Each item is published once the previous one is stored; after
   * the last one the channel ends. If the source fails, subscribers get the event of `onError` and the end. If the
   * process dies, they get `{ event: "lost", data: "" }` and the end within `lease` plus two seconds. Do not call an
   * event of your own `lost` or `failed`.
   *
   * While the channel has a producer, `publish` still works; `end` and `publishAll` reject with `ERR_CHANNEL_PRODUCED`.
   *
   * @returns `undefined` if the channel has, or had, another producer, or has ended: in that case only subscribe
   * @throws {EventStreamError} (as a rejection) `ERR_INVALID_CHANNEL`, `ERR_INVALID_SOURCE`, `ERR_INVALID_OPTION`,
   *   `ERR_BROKER_CLOSED`, `ERR_BROKER_UNAVAILABLE`
   */
  produce<T extends E>(
    channel: string,
    source: (producer: Producer) => PublishableEvents<T> | PromiseLike<PublishableEvents<T>>,
    options?: ProduceOptions<E>,
  ): Promise<Production | undefined>;

  /**
   * Ends a channel that is being produced, in this process or another: the producer's signal aborts within a second,
   * and nothing that it yields later is published.
   *
   * @returns whether a producer was stopped: `false` if there is none, if it has ended, or if its lease has run out
   * @throws {EventStreamError} (as a rejection) `ERR_INVALID_CHANNEL`, `ERR_BROKER_CLOSED`, `ERR_BROKER_UNAVAILABLE`
   */
  stop(channel: string): Promise<boolean>;

  /**
   * Stops this broker's producers and ends their channels, ends every subscription, and closes everything that the
   * broker opened, but not the application's client or pool. From then on, all its other methods reject with
   * `ERR_BROKER_CLOSED`. Closing twice is no error.
   */
  close(): Promise<void>;
}
