import {
  type SubscribeSettings,
  brokerClosed,
  checkChannel,
  checkChannels,
  checkSubscribeOptions,
} from "../broker/checks.js";
import type {
  ProduceOptions,
  Producer,
  Broker,
  Production,
  PublishedEvent,
  SubscribeOptions,
} from "../broker/broker.js";
import { Producers } from "../broker/producers.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing, withId } from "../broker/published-event.js";
import { type Beginning, Subscription, type SubscriptionHost } from "../broker/subscription.js";
import type { EventStreamError } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { backOff } from "../runtime/backoff.js";
import { channelTag } from "./channel-tag.js";
import { ProducerRecords } from "./producer-records.js";
import type { Redis } from "./client.js";
import { composeId, positionsIn } from "./composite-id.js";
import { type CursorStart, TailCursor } from "./cursor.js";
import { compareIds, type EventEntry, origin, type Position } from "./entry.js";
import { isFinal, withTimeout } from "./failure.js";
import { Follower } from "./follower.js";
import type { BrokerSettings } from "./broker-settings.js";
import { Locator } from "./locator.js";
import { checkOptions, type RedisBrokerOptions } from "./options.js";
import { PublishQueue } from "./publish-queue.js";
import { Reads } from "./reads.js";
import { Store } from "./store.js";

/**
 * A broker for many processes: each channel is a Redis Stream, and an event's id is the ID of its entry. It needs Redis
 * 6.2 or newer, or Valkey: one server, Sentinel or a Redis Cluster. An event whose `publish` was rejected may still
 * have been stored.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = redisBroker<Message>({ client: await createClient({ url }).connect() });
 */
export function redisBroker<E extends ServerSentEvent = ServerSentEvent>(options: RedisBrokerOptions): Broker<E> {
  return new RedisBroker<E>(...checkOptions(options));
}

class RedisBroker<E extends ServerSentEvent> implements Broker<E>, SubscriptionHost<EventEntry, TailCursor> {
  readonly #reads: Reads;
  readonly #locator: Locator;
  readonly #follower: Follower;
  readonly #publishQueue: PublishQueue;
  readonly #producers: Producers<E>;
  readonly #prefix: string;
  readonly #timeout: number;
  /** Resolves if this user may subscribe to messages. The first subscription finds out. */
  #canHear: Promise<void> | undefined;
  /** "closing" means that the broker is still ending the channels that it produces. */
  #state: "open" | "closing" | "closed" = "open";

  constructor(redis: Redis, settings: BrokerSettings) {
    const { prefix, timeout, ring } = settings;
    this.#prefix = prefix;
    this.#timeout = timeout;
    this.#reads = new Reads(redis, timeout);
    this.#locator = new Locator(redis, settings);
    const store = new Store(redis, this.#reads, settings);
    const records = new ProducerRecords(redis, settings, (channel, _token, wake) => this.#watch(channel, wake));
    const listening = { prefix, timeout, isSharded: ring === "SPUBLISH" };
    this.#follower = new Follower(redis, store, listening, (key) => records.expire(key.slice(prefix.length)));
    this.#publishQueue = new PublishQueue(redis, settings);
    this.#producers = new Producers(records);
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  async publish(channel: string, event: E): Promise<string> {
    const key = this.#prefix + checkChannel(channel);
    const parts = encodeForPublishing(event);
    this.#checkOpen();
    return this.#publishQueue.append(key, parts);
  }

  publishAll(channel: string, source: unknown): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string): Promise<void> {
    const key = this.#prefix + checkChannel(channel);
    this.#checkOpen();
    await this.#publishQueue.end(key);
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

  produce(
    channel: string,
    source: (producer: Producer) => unknown,
    options?: ProduceOptions<E>,
  ): Promise<Production | undefined> {
    return this.#producers.produce(channel, source, options);
  }

  stop(channel: string): Promise<boolean> {
    return this.#producers.stop(channel);
  }

  /** Reads the channel, and calls `wake` when it has ended. */
  #watch(channel: string, wake: () => void): () => void {
    const watching = new AbortController();
    const { signal } = watching;
    const read = async (): Promise<void> => {
      for (let failures = 0; !signal.aborted && this.#state === "open"; failures++) {
        try {
          const events = (await this.subscribe(channel, { signal }))[Symbol.asyncIterator]();
          while ((await events.next()).done !== true);
          if (!signal.aborted) wake();
          return;
        } catch {
          await backOff(failures, signal);
        }
      }
    };
    void read();
    return () => watching.abort();
  }

  async #probe(key: string): Promise<void> {
    const isShared = this.#canHear !== undefined;
    this.#canHear ??= withTimeout(this.#timeout, this.#follower.probe(key));
    try {
      await this.#canHear;
    } catch (error) {
      this.#canHear = undefined;
      this.#checkOpen();
      if (!isShared || !isFinal(error as EventStreamError)) throw error;
      // Another key is denied; this one may be allowed.
      await withTimeout(this.#timeout, this.#follower.probe(key));
    }
  }

  async #begin(keys: readonly string[], settings: SubscribeSettings): Promise<Beginning<TailCursor>> {
    const { lastEventId } = settings;
    const known = lastEventId === undefined ? undefined : positionsIn(lastEventId, keys);
    const find = (key: string) => this.#startIn(key, known?.get(key), settings);
    // Most subscriptions have one channel, and thousands may begin in one turn: for them each promise counts.
    const found = keys.length === 1 ? [await find(keys[0] as string)] : await Promise.all(keys.map(find));
    return {
      cursors: found.map(
        ({ start }) => new TailCursor(this.#follower, start, keys.length === 1 ? undefined : channelTag(start.key)),
      ),
      isMissing: found.some(({ isKnown }) => !isKnown),
    };
  }

  /** Where the subscription begins in a channel, and whether nothing is missing before it. */
  async #startIn(
    key: string,
    position: Position | undefined,
    { lastEventId, from }: SubscribeSettings,
  ): Promise<{ start: CursorStart; isKnown: boolean }> {
    const at = performance.now();
    // Most clients that reconnect have missed little, and all of that is in the tail.
    if (position !== undefined && position.id !== origin && this.#follower.find(key)?.has(position.id) === true)
      return { start: { key, position, isOver: false, last: position, at }, isKnown: true };
    const view = await this.#locator.locate(key, position ?? { id: origin, confirmed: 0 });
    const { last, hasEnded, hasMore, isCut, lease } = view;
    if (lastEventId === undefined && from === "now")
      return { start: { key, position: last, isOver: hasEnded, last, at, lease }, isKnown: true };
    const isKnown = lastEventId === undefined ? !isCut : position !== undefined && view.isKnown;
    // A fixed position rather than "the start", so that entries that leave the log from now on are reported as a gap.
    const begin = lastEventId !== undefined && isKnown ? (position as Position) : view.start;
    return { start: { key, position: begin, isOver: hasEnded && !hasMore, last, at, lease }, isKnown };
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
    this.#state = "closing";
    await withTimeout(this.#timeout, this.#producers.close()).catch(() => {});
    this.#state = "closed";
    this.#follower.close();
    this.#reads.close();
  }

  #checkOpen(): void {
    if (this.#state !== "open") throw brokerClosed();
  }
}
