import {
  type SubscribeSettings,
  checkChannel,
  checkChannels,
  checkSubscribeOptions,
  historyOption,
} from "../broker/checks.js";
import type { Broker, HistoryOptions, PublishedEvent, SubscribeOptions } from "../broker/broker.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing, withId } from "../broker/published-event.js";
import { type Beginning, Subscription, type SubscriptionHost } from "../broker/subscription.js";
import { option, readOptions } from "../checks.js";
import { EventStreamError } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { channelTag } from "./channel-tag.js";
import { composeId, positionsIn } from "./composite-id.js";
import { type Place, TailCursor } from "./cursor.js";
import { compareIds, type EventEntry, origin, type Position } from "./entry.js";
import { within } from "./failure.js";
import { Follower } from "./follower.js";
import { type RedisClient, redisOf } from "./library.js";
import { type Keeping, Outbox } from "./outbox.js";
import { Reads } from "./reads.js";
import { Store } from "./store.js";

/** How a `redisBroker` is made. */
export interface RedisBrokerOptions {
  /**
   * The application's client: node-redis 6 (`createClient`, `createClientPool`, `createCluster`, `createSentinel`,
   * connected) or ioredis 5 and later (`Redis`, `Cluster`, without a `keyPrefix`). The broker makes at most two connections
   * like it, on a cluster for each master, and never closes it.
   */
  readonly client: RedisClient;
  /**
   * What the keys begin with; the rest is the channel's name. Messages are published to the same names.
   *
   * @default "express-event-source:"
   */
  readonly prefix?: string | undefined;
  /**
   * How much of each channel is kept. Redis trims a little late, so that it may be some events more. Give all
   * processes the same.
   */
  readonly history?: HistoryOptions | undefined;
  /**
   * Milliseconds after which `publish`, `end` and `subscribe` reject where Redis does not answer.
   *
   * @default 5000
   */
  readonly timeout?: number | undefined;
  /**
   * Whether messages stay on the shard of their channel (`SPUBLISH`, Redis 7): for a cluster whose nodes would have too
   * much to tell each other. Give all processes the same.
   *
   * @default false
   */
  readonly sharded?: boolean | undefined;
}

const table = {
  client: { default: undefined, read: (client: unknown) => client },
  prefix: option(
    "express-event-source:",
    (value) => typeof value === "string" && !/\p{Surrogate}/u.test(value),
    'a string, such as "events:"',
  ),
  history: historyOption,
  timeout: option(
    5000,
    (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31,
    "a whole number of milliseconds from 1 to 2147483647",
  ),
  sharded: option<boolean>(false, (value) => typeof value === "boolean", "true or false"),
};

/**
 * How much longer than its newest event the key of a channel lives at most, in milliseconds: time enough to know that nothing
 * was missed before a new stream is found in its place.
 */
const longestMargin = 60_000;

/**
 * A broker for many processes: each channel is a Redis Stream, and an event's id is the ID of its entry. Redis 6.2 or
 * newer, or Valkey; one server, Sentinel or a Redis Cluster. A rejected `publish` may still have been stored.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = redisBroker<Message>({ client: await createClient({ url }).connect() });
 */
export function redisBroker<E extends ServerSentEvent = ServerSentEvent>(options: RedisBrokerOptions): Broker<E> {
  const { client, prefix, history, timeout, sharded } = readOptions("redisBroker", options ?? {}, table);
  const redis = redisOf(client);
  const timeToLive = history.maxAge + Math.min(history.maxAge, longestMargin);
  const reads = new Reads(redis, timeout);
  const store = new Store(redis, reads, timeout, history, timeToLive);
  const keeping: Keeping = { history, timeToLive, timeout, prefix, ring: sharded ? "SPUBLISH" : "PUBLISH" };
  const follower = new Follower(redis, store, { prefix, isSharded: sharded, timeout });
  return new RedisBroker<E>(store, reads, follower, new Outbox(redis, keeping), prefix, timeout);
}

class RedisBroker<E extends ServerSentEvent> implements Broker<E>, SubscriptionHost<EventEntry, TailCursor> {
  readonly #store: Store;
  readonly #reads: Reads;
  readonly #follower: Follower;
  readonly #outbox: Outbox;
  readonly #prefix: string;
  readonly #timeout: number;
  /** Whether this user may hear messages: asked with the first subscription. */
  #canHear: Promise<void> | undefined;
  isClosed = false;

  constructor(store: Store, reads: Reads, follower: Follower, outbox: Outbox, prefix: string, timeout: number) {
    this.#store = store;
    this.#reads = reads;
    this.#follower = follower;
    this.#outbox = outbox;
    this.#prefix = prefix;
    this.#timeout = timeout;
  }

  async publish(channel: string, event: E): Promise<string> {
    const key = this.#prefix + checkChannel(channel);
    const parts = encodeForPublishing(event);
    this.#checkOpen();
    return this.#outbox.append(key, parts);
  }

  publishAll(channel: string, source: AsyncIterable<E> | Iterable<E>): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string): Promise<void> {
    const key = this.#prefix + checkChannel(channel);
    this.#checkOpen();
    await this.#outbox.end(key);
  }

  async subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>> {
    const keys = checkChannels(channels).map((channel) => this.#prefix + channel);
    const settings = checkSubscribeOptions(options);
    this.#checkOpen();
    const [beginning] = await Promise.all([this.#begin(keys, settings), this.#probe(keys[0] as string)]);
    this.#checkOpen();
    const subscription = new Subscription(this, beginning, settings);
    return subscription as AsyncIterable<PublishedEvent> as AsyncIterable<PublishedEvent<E>>;
  }

  async #probe(key: string): Promise<void> {
    this.#canHear ??= within(this.#timeout, this.#follower.probe(key));
    try {
      await this.#canHear;
    } catch (error) {
      this.#canHear = undefined;
      this.#checkOpen();
      throw error;
    }
  }

  async #begin(keys: readonly string[], settings: SubscribeSettings): Promise<Beginning<TailCursor>> {
    const { lastEventId } = settings;
    const known = lastEventId === undefined ? undefined : positionsIn(lastEventId, keys);
    const found = await Promise.all(keys.map((key) => this.#place(key, known?.get(key), settings)));
    return {
      cursors: found.map(
        ({ place }) => new TailCursor(this.#follower, place, keys.length === 1 ? undefined : channelTag(place.key)),
      ),
      isMissing: found.some(({ isKnown }) => !isKnown),
    };
  }

  /** Where the subscription begins in a channel, and whether nothing is missing before that. */
  async #place(
    key: string,
    position: Position | undefined,
    { lastEventId, from }: SubscribeSettings,
  ): Promise<{ place: Place; isKnown: boolean }> {
    const at = performance.now();
    // Most clients that come back missed little: what they want is here.
    if (position !== undefined && position.id !== origin && this.#follower.find(key)?.has(position.id) === true)
      return { place: { key, position, isOver: false, last: position, at }, isKnown: true };
    const location = await this.#store.locate(key, position ?? { id: origin, confirmed: 0 });
    const { last, start, hasEnded, hasMore } = location;
    if (lastEventId === undefined && from === "now")
      return { place: { key, position: last, isOver: hasEnded, last, at }, isKnown: true };
    const isKnown = lastEventId === undefined || (position !== undefined && location.isKnown);
    // A place of its own, not "the start": what leaves the log from now on is missing after it.
    const begin = lastEventId !== undefined && isKnown ? (position as Position) : start;
    return { place: { key, position: begin, isOver: hasEnded && !hasMore, last, at }, isKnown };
  }

  compare(a: EventEntry, b: EventEntry): number {
    return compareIds(a.id, b.id);
  }

  eventOf({ id, event }: EventEntry, cursors: readonly TailCursor[]): PublishedEvent {
    if (cursors.length === 1) return event;
    return withId(
      event,
      composeId(
        cursors.map((cursor) => {
          const { name, firstCount } = cursor.tag as NonNullable<TailCursor["tag"]>;
          return { tag: name, firstCount, position: cursor.positionAt(id) };
        }),
      ),
    );
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#follower.close();
    this.#reads.close();
  }

  #checkOpen(): void {
    if (this.isClosed)
      throw new EventStreamError(
        "ERR_BROKER_CLOSED",
        "The broker has been closed; close it after everything that publishes or subscribes.",
      );
  }
}
