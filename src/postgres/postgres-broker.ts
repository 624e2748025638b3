import type {
  ProduceOptions,
  Producer,
  Broker,
  Production,
  PublishedEvent,
  SubscribeOptions,
} from "../broker/broker.js";
import {
  type SubscribeSettings,
  brokerClosed,
  channelEnded,
  channelProduced,
  checkChannel,
  checkChannels,
  checkSubscribeOptions,
} from "../broker/checks.js";
import { Producers } from "../broker/producers.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing, withId } from "../broker/published-event.js";
import { Subscription, type SubscriptionHost } from "../broker/subscription.js";
import type { PublishableEvent } from "../format/compile-time-checks.js";
import type { ServerSentEvent } from "../format/event.js";
import { announce } from "../runtime/diagnostics.js";
import { type Beginning, beginningIn } from "./beginning.js";
import { ChannelClaims } from "./claims.js";
import { ChannelCursor } from "./cursor.js";
import type { Entry } from "./entry.js";
import { migrate } from "./migration.js";
import { checkPostgresOptions, type PostgresBrokerOptions, type PostgresSettings } from "./options.js";
import { composeId, type Place, placesIn } from "./place.js";
import { Reader } from "./reader.js";
import { bellOf } from "./schema.js";
import { produced, Publisher } from "./publisher.js";
import { Store } from "./store.js";
import { Sweeper, sweepInterval } from "./sweeper.js";
import { checkTransactionClient, enqueue, type TransactionClient } from "./transaction.js";

/** The application's transaction in which to publish or end. */
export interface TransactionOptions {
  /** The `pg` client on which the transaction is open, or the `tx` of a `PGlite`'s `transaction`. */
  readonly client: TransactionClient;
}

/** A broker whose events can be part of the application's own transactions. */
export interface PostgresBroker<E extends ServerSentEvent = ServerSentEvent> extends Broker<E> {
  publish<T extends E>(channel: string, event: (T | E) & PublishableEvent<T>): Promise<string>;
  /**
   * Publishes in the application's transaction: the event exists if and only if the transaction commits. The event
   * takes its place among the channel's events soon after the commit, so it has no id yet. If no transaction is open on
   * the client, the event is committed at once.
   *
   * @throws {EventStreamError} (as a rejection) as `publish` without a transaction does. After `ERR_CHANNEL_ENDED` the
   *   transaction can still be used. The transaction's own errors arrive unchanged.
   */
  publish<T extends E>(
    channel: string,
    event: (T | E) & PublishableEvent<T>,
    options: TransactionOptions,
  ): Promise<void>;
  /**
   * Ends the channel. With `{ client }`, it ends if and only if the transaction commits.
   *
   * @throws {EventStreamError} (as a rejection) as `end` of every broker does; `ERR_INVALID_OPTION` for a `client` that is none
   */
  end(channel: string, options?: TransactionOptions): Promise<void>;
  /**
   * Makes the schema, or brings it up to date. Any number of processes may call it at once. If the schema is current,
   * it changes nothing and needs no permission to change anything.
   *
   * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`
   */
  migrate(): Promise<void>;
}

/**
 * A broker on PostgreSQL 13 or later, for many processes, or on an embedded PGlite. Call `await broker.migrate()`
 * before the first use. If `publish` rejects, the event may have been stored by then; it will not be stored later.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = postgresBroker<Message>({ pool: new Pool({ connectionString }) });
 */
export function postgresBroker<E extends ServerSentEvent = ServerSentEvent>(
  options: PostgresBrokerOptions,
): PostgresBroker<E> {
  return new DatabaseBroker<E>(checkPostgresOptions(options));
}

class DatabaseBroker<E extends ServerSentEvent> implements PostgresBroker<E>, SubscriptionHost<Entry, ChannelCursor> {
  readonly #store: Store;
  readonly #publisher: Publisher;
  readonly #reader: Reader;
  readonly #sweeper: Sweeper;
  readonly #producers: Producers<E>;
  isClosed = false;

  constructor({ database, schema, history, listens, pollInterval, timeout }: PostgresSettings) {
    this.#store = new Store(database, schema, history, timeout, (channel) => {
      announce("error", { channel, error: channelEnded(channel) });
    });
    this.#publisher = new Publisher(this.#store);
    // Checks also keep channels that have subscriptions from being forgotten, so a short `maxAge` needs frequent ones.
    const interval = Math.min(pollInterval, sweepInterval(history.maxAge));
    this.#reader = new Reader(this.#store, database, listens ? bellOf(schema) : undefined, interval);
    this.#sweeper = new Sweeper(this.#store);
    this.#producers = new Producers(new ChannelClaims(this.#store, this.#reader));
  }

  async migrate(): Promise<void> {
    this.#open();
    await migrate(this.#store);
  }

  publish(channel: string, event: E): Promise<string>;
  publish(channel: string, event: E, options: TransactionOptions): Promise<void>;
  async publish(channel: string, event: E, options?: TransactionOptions): Promise<string | void> {
    checkChannel(channel);
    const parts = encodeForPublishing(event);
    this.#open();
    if (options !== undefined) {
      const refusal = await enqueue(
        checkTransactionClient(options),
        this.#store.schema,
        channel,
        JSON.stringify(parts),
      );
      if (refusal !== null) throw channelEnded(channel);
      return;
    }
    const id = await this.#publisher.publish(channel, parts);
    this.#reader.onPublished(channel);
    return id;
  }

  publishAll(channel: string, source: unknown): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string, options?: TransactionOptions): Promise<void> {
    checkChannel(channel);
    this.#open();
    if (options !== undefined) {
      const refusal = await enqueue(checkTransactionClient(options), this.#store.schema, channel, null);
      if (refusal === produced) throw channelProduced(channel);
      return;
    }
    await this.#publisher.end(channel);
    this.#reader.onPublished(channel);
  }

  async subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>> {
    const names = checkChannels(channels);
    const settings = checkSubscribeOptions(options);
    this.#open();
    const { lastEventId } = settings;
    const places = lastEventId === undefined ? undefined : placesIn(lastEventId, names);
    const beginnings = await Promise.all(names.map((name) => this.#begin(name, places?.get(name), settings)));
    this.#open();
    const cursors = beginnings.map(
      ({ place, newest, isOver }, index) =>
        new ChannelCursor(this.#reader, names[index] as string, place, newest, isOver),
    );
    const isMissing = beginnings.some((beginning) => beginning.isMissing);
    const subscription: AsyncIterable<PublishedEvent> = new Subscription(this, { cursors, isMissing }, settings);
    return subscription as AsyncIterable<PublishedEvent<E>>;
  }

  produce(
    channel: string,
    source: (producer: Producer) => unknown,
    options?: ProduceOptions<E>,
  ): Promise<Production | undefined> {
    this.#sweeper.start();
    return this.#producers.produce(channel, source, options);
  }

  stop(channel: string): Promise<boolean> {
    return this.#producers.stop(channel);
  }

  async #begin(channel: string, place: Place | undefined, settings: SubscribeSettings): Promise<Beginning> {
    // Most clients that reconnect have missed only a few events. These are in memory, so the database is not asked.
    const tail = this.#reader.find(channel);
    if (place !== undefined && tail?.has(place) === true)
      return { place, newest: { place, status: tail.status }, isOver: false, isMissing: false };
    return beginningIn(await this.#store.locate(channel), place, settings, this.#store.history);
  }

  compare(a: Entry, b: Entry): number {
    return a.at - b.at;
  }

  eventOf(entry: Entry, cursors: readonly ChannelCursor[]): PublishedEvent {
    if (cursors.length === 1) return entry.event;
    return withId(entry.event, composeId(cursors.map(({ channel, place }) => [channel, place])));
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([this.#producers.close(), this.#reader.close(), this.#sweeper.close()]);
  }

  #open(): void {
    if (this.isClosed) throw brokerClosed();
    this.#sweeper.start();
  }
}
