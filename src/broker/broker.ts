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
   * Milliseconds for which an event is kept.
   *
   * @default 300_000 (five minutes)
   */
  readonly maxAge?: number | undefined;
}

/** Where a subscription begins, and what ends it. An `EventStream` is one: `broker.subscribe(channel, stream)`. */
export interface SubscribeOptions {
  /**
   * The `id` of the last event that the client got: the subscription begins just after it. An ID
   * that the channel does not know is a gap, never an error. Stronger than `from`; an empty one is none.
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
   * What the subscriber gets where events are missing; `undefined` as the result: nothing.
   *
   * @default () => ({ event: "gap", data: { lastEventId } })
   */
  readonly onGap?: (() => ServerSentEvent | undefined) | undefined;
}

/**
 * An event as a subscriber gets it: its fields as they were when it was published, `data` as JSON
 * carries it, frozen, because it is one object for all subscribers; the `id` is the broker's. Rewrite it as a
 * copy: `{ ...event, data: … }`.
 *
 * Or the broker's word that events are missing here: `event: "gap"`, the only one without an `id`. Who filters lets it
 * pass: `if (event.id === undefined) yield event;`.
 */
export type PublishedEvent<E extends ServerSentEvent = ServerSentEvent> =
  | (E extends unknown ? Readonly<Omit<E, "id">> & Pick<ServerSentEvent, "event"> & { readonly id: string } : never)
  | { readonly event: "gap"; readonly data: { readonly lastEventId: string | undefined }; readonly id?: undefined };

/**
 * Channels of events, each a bounded log that any number of subscriptions read at their own pace.
 * `E` is the application's event type.
 *
 * **Order.** The events of a channel have one order, that in which `publish` stored them, and each
 * subscription sees it. Between channels there is none.
 *
 * **Nothing is lost in silence, nothing comes twice.** A subscription yields each event after its
 * position exactly once. Where the next one has left the log (an unknown ID, an ID from before a
 * restart, a subscriber that is too slow) it first yields a `gap`, then everything that is still held.
 *
 * **Memory.** A slow subscriber has no queue; it is a cursor that lags. A channel that nobody waits for is
 * forgotten, the mark of its end too, when it has not been used for `maxAge`; a client that comes back later gets a `gap`.
 */
export interface Broker<E extends ServerSentEvent = ServerSentEvent> {
  /**
   * Appends an event to a channel.
   *
   * It is encoded at once: what the application does to the object afterwards changes nothing.
   *
   * @returns its id, once it is stored: from then on every subscription that began before gets it
   * @throws {EventStreamError} (as a rejection, the log unchanged) `ERR_INVALID_FIELD` for an event that brings its
   *   own `id`; the codes of `encodeEvent` for one that cannot be sent; `ERR_CHANNEL_ENDED`; `ERR_BROKER_CLOSED`;
   *   `ERR_BROKER_UNAVAILABLE` where the store does not answer: the event may be stored all the same
   */
  publish(channel: string, event: E): Promise<string>;

  /**
   * Publishes everything that `source` yields, each when the one before is stored, then ends the channel.
   * A source that fails, or an event that is refused, rejects, and the channel is not ended: say what
   * the subscribers are to know, and `end` it.
   */
  publishAll(channel: string, source: AsyncIterable<E> | Iterable<E>): Promise<void>;

  /**
   * Marks a channel as finished: subscriptions end after its last event, later ones replay and end,
   * and `publish` rejects, until the channel is forgotten. Ending twice is no error.
   */
  end(channel: string): Promise<void>;

  /**
   * Subscribes to a channel, or to several as one stream.
   *
   * @returns when the position is taken: every event that is published after that is delivered. The iterable can be
   *   iterated once. If nothing is left and nothing can come (an ended channel, read to its end), it is
   *   empty at once, so that `eventSource` answers 204.
   * @throws {EventStreamError} (as a rejection) `ERR_INVALID_CHANNEL`, `ERR_INVALID_OPTION`, `ERR_BROKER_CLOSED`,
   *   `ERR_BROKER_UNAVAILABLE`
   */
  subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>>;

  /** Ends every subscription and lets go of everything the broker opened. Publishing and subscribing reject from then on. */
  close(): Promise<void>;
}
