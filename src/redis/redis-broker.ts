import {
  type SubscribeSettings,
  checkChannel,
  checkChannels,
  checkHistory,
  checkSubscribeOptions,
} from "../broker/checks.js";
import type { Broker, HistoryOptions, PublishedEvent, SubscribeOptions } from "../broker/broker.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing, publishedEvent } from "../broker/published-event.js";
import { Subscription, type SubscriptionHost } from "../broker/subscription.js";
import { EventStreamError, show, unknownOption } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { checkClient, type RedisClient } from "./client.js";
import { composeId, positionsIn } from "./composite-id.js";
import { type Place, TailCursor, type Tails } from "./cursor.js";
import { compareIds, type EventEntry, origin } from "./entry.js";
import { Reader } from "./reader.js";
import { Store } from "./store.js";
import { Tail } from "./tail.js";

/** How a `redisBroker` is made. */
export interface RedisBrokerOptions {
  /** A connected client of node-redis (`createClient`). The broker never closes it. */
  readonly client: RedisClient;
  /**
   * What the keys begin with; the rest is the channel's name. In a Redis Cluster, give it a hash tag, so that all
   * channels are in one slot: `"{events}:"`.
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
}

const defaults = { prefix: "express-event-source:", timeout: 5000 };

/**
 * A broker for many processes: each channel is a Redis Stream, and an event's id is the ID of its entry. Redis 6.2 or
 * newer, or Valkey. A rejected `publish` may still have been stored.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = redisBroker<Message>({ client: await createClient({ url }).connect() });
 */
export function redisBroker<E extends ServerSentEvent = ServerSentEvent>(options: RedisBrokerOptions): Broker<E> {
  const { client, prefix = defaults.prefix, history, timeout = defaults.timeout, ...unknown } = options ?? {};
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw unknownOption("redisBroker", stranger, "client, prefix, history and timeout");
  }
  checkClient(client);
  if (typeof prefix !== "string") {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The option prefix is ${show(prefix)}; it must be a string, such as "events:".`,
      { field: "prefix" },
    );
  }
  if (!Number.isSafeInteger(timeout) || timeout < 1 || timeout >= 2 ** 31) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The option timeout is ${show(timeout)}; it must be a whole number of milliseconds from 1 to 2147483647.`,
      { field: "timeout" },
    );
  }
  const store = new Store(client, timeout, checkHistory(history));
  return new RedisBroker<E>(store, new Reader(client, store, timeout), prefix);
}

class RedisBroker<E extends ServerSentEvent> implements Broker<E>, Tails, SubscriptionHost<EventEntry, TailCursor> {
  readonly #store: Store;
  readonly #reader: Reader;
  readonly #prefix: string;
  isClosed = false;

  constructor(store: Store, reader: Reader, prefix: string) {
    this.#store = store;
    this.#reader = reader;
    this.#prefix = prefix;
  }

  async publish(channel: string, event: E): Promise<string> {
    const key = this.#key(checkChannel(channel));
    const parts = encodeForPublishing(event);
    this.#checkOpen();
    return this.#store.append(key, parts);
  }

  publishAll(channel: string, source: AsyncIterable<E> | Iterable<E>): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string): Promise<void> {
    const key = this.#key(checkChannel(channel));
    this.#checkOpen();
    await this.#store.end(key);
  }

  async subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>> {
    const keys = checkChannels(channels).map((channel) => this.#key(channel));
    const beginning = checkSubscribeOptions(options);
    this.#checkOpen();
    const known = beginning.lastEventId === undefined ? undefined : positionsIn(beginning.lastEventId, keys);
    const found = await Promise.all(keys.map((key) => this.#place(key, known?.get(key), beginning)));
    this.#checkOpen();
    const isMissing = found.some(({ isKnown }) => !isKnown);
    const cursors = found.map(({ place }) => new TailCursor(this, place));
    const subscription = new Subscription(this, { cursors, isMissing }, beginning);
    return subscription as AsyncIterable<PublishedEvent> as AsyncIterable<PublishedEvent<E>>;
  }

  compare(a: EventEntry, b: EventEntry): number {
    return compareIds(a.id, b.id);
  }

  eventOf({ event, parts }: EventEntry, cursors: readonly TailCursor[]): PublishedEvent {
    if (cursors.length === 1) return event;
    return publishedEvent(composeId(cursors.map(({ key, position }) => [key, position])), parts);
  }

  /** Where the subscription begins in a channel, and whether nothing is missing before that. */
  async #place(
    key: string,
    position: string | undefined,
    { lastEventId, from }: SubscribeSettings,
  ): Promise<{ place: Place; isKnown: boolean }> {
    // Most clients that come back missed little: what they want is here.
    if (position !== undefined && this.#reader.find(key)?.has(position) === true) {
      return { place: { key, position, isOver: false, last: position, at: -Infinity }, isKnown: true };
    }
    const { last, start, at, isKnown, hasEnded, hasMore } = await this.#store.locate(key, position ?? origin);
    if (lastEventId === undefined && from === "now") {
      return { place: { key, position: last, isOver: hasEnded, last, at }, isKnown: true };
    }
    const isOver = hasEnded && !hasMore;
    // A place of its own, not "the start": what leaves the log from now on is missing after it.
    if (lastEventId === undefined) return { place: { key, position: start, isOver, last, at }, isKnown: true };
    if (position === undefined || !isKnown)
      return { place: { key, position: start, isOver, last, at }, isKnown: false };
    return { place: { key, position, isOver, last, at }, isKnown: true };
  }

  acquire({ key, last, at }: Place): Tail {
    let tail = this.#reader.find(key);
    if (tail === undefined) {
      tail = new Tail(this.#store, key, last, at);
      this.#reader.add(tail);
    }
    return tail;
  }

  release(tail: Tail): void {
    if (tail.subscriptions === 0) this.#reader.delete(tail);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#reader.close();
  }

  /** As Redis will reply it: a lone surrogate does not survive UTF-8. */
  #key(channel: string): string {
    return Buffer.from(this.#prefix + channel).toString();
  }

  #checkOpen(): void {
    if (this.isClosed)
      throw new EventStreamError(
        "ERR_BROKER_CLOSED",
        "The broker has been closed; close it after everything that publishes or subscribes.",
      );
  }
}
