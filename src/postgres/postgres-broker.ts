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
import { ChannelClaims } from "./claims.js";
import { ChannelCursor, type Newest } from "./cursor.js";
import { explain, lacksSchema, needsToMigrate } from "./database.js";
import { placeIn } from "./head.js";
import { checkPostgresOptions, type PostgresBrokerOptions, type PostgresSettings } from "./options.js";
import { composeId, type Place, placesIn } from "./place.js";
import { Reader } from "./reader.js";
import { bellOf, postgresSchema, schemaVersion } from "./schema.js";
import { produced, Store } from "./store.js";
import { Sweeper, sweepInterval } from "./sweeper.js";
import type { Entry } from "./tail.js";
import { checkTransactionClient, enqueue, type TransactionClient } from "./transaction.js";

/** A transaction of the application's. */
export interface TransactionOptions {
  /** The `pg` client on which it is open, or the `tx` of a `PGlite`'s `transaction`. */
  readonly client: TransactionClient;
}

/** A broker whose events can be part of the application's own transactions. */
export interface PostgresBroker<E extends ServerSentEvent = ServerSentEvent> extends Broker<E> {
  publish<T extends E>(channel: string, event: (T | E) & PublishableEvent<T>): Promise<string>;
  /**
   * Publishes in the application's transaction: the event exists if and only if that commits. It takes its place among the
   * channel's events soon after, so there is no id yet. Outside a transaction it is committed at once.
   *
   * @throws {EventStreamError} (as a rejection) as `publish` does; after `ERR_CHANNEL_ENDED` the transaction is usable.
   *   The transaction's own errors come as they are.
   */
  publish<T extends E>(
    channel: string,
    event: (T | E) & PublishableEvent<T>,
    options: TransactionOptions,
  ): Promise<void>;
  /** Ends the channel; with `{ client }` if and only if the transaction commits. */
  end(channel: string, options?: TransactionOptions): Promise<void>;
  /**
   * Makes the schema, or brings it up to date. Any number of processes may call it at once; where the schema is current it
   * does nothing, and needs no right to.
   *
   * @throws {EventStreamError} (as a rejection) `ERR_BROKER_UNAVAILABLE`
   */
  migrate(): Promise<void>;
}

/**
 * A broker on PostgreSQL 13 or later, for many processes, or on an embedded PGlite. `await broker.migrate()` once before it is
 * used. A rejected `publish` may still have been stored.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = postgresBroker<Message>({ pool: new Pool({ connectionString }) });
 */
export function postgresBroker<E extends ServerSentEvent = ServerSentEvent>(
  options: PostgresBrokerOptions,
): PostgresBroker<E> {
  return new SchemaBroker<E>(checkPostgresOptions(options));
}

class SchemaBroker<E extends ServerSentEvent> implements PostgresBroker<E>, SubscriptionHost<Entry, ChannelCursor> {
  readonly #schema: string;
  readonly #database: PostgresSettings["database"];
  readonly #store: Store;
  readonly #reader: Reader;
  readonly #sweeper: Sweeper;
  readonly #producers: Producers<E>;
  isClosed = false;

  constructor({ database, schema, history, listens, pollInterval, timeout }: PostgresSettings) {
    this.#schema = schema;
    this.#database = database;
    this.#store = new Store(database, schema, history, timeout, (channel) => {
      announce("error", { channel, error: channelEnded(channel) });
    });
    // Often enough to keep the channels that are subscribed to from being forgotten.
    const interval = Math.min(pollInterval, sweepInterval(history.maxAge));
    this.#reader = new Reader(this.#store, database, listens ? bellOf(schema) : undefined, interval);
    this.#sweeper = new Sweeper(this.#store);
    this.#producers = new Producers(new ChannelClaims(this.#store, this.#reader));
  }

  async migrate(): Promise<void> {
    this.#open();
    const { s, timeout } = this.#store;
    // Others may be at it, and each waits for the one before. A PGlite has still to start.
    const patience = Math.max(timeout, 60_000);
    const isCurrent = async (): Promise<boolean> => {
      try {
        const [rows = []] = await this.#database.run([`SELECT ${s}.version()`], patience);
        return rows[0]?.[0] === schemaVersion(this.#schema);
      } catch (error) {
        if (lacksSchema(error)) return false;
        throw explain(error, this.#schema);
      }
    };
    if (await isCurrent()) return;
    await this.#store.run([postgresSchema({ schema: this.#schema })], patience, needsToMigrate(this.#schema));
  }

  publish(channel: string, event: E): Promise<string>;
  publish(channel: string, event: E, options: TransactionOptions): Promise<void>;
  async publish(channel: string, event: E, options?: TransactionOptions): Promise<string | void> {
    checkChannel(channel);
    const parts = encodeForPublishing(event);
    this.#open();
    if (options !== undefined) {
      const refusal = await enqueue(checkTransactionClient(options), this.#schema, channel, JSON.stringify(parts));
      if (refusal !== null) throw channelEnded(channel);
      return;
    }
    const id = await this.#store.append(channel, parts);
    this.#reader.published(channel);
    return id;
  }

  publishAll(channel: string, source: unknown): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string, options?: TransactionOptions): Promise<void> {
    checkChannel(channel);
    this.#open();
    if (options !== undefined) {
      const refusal = await enqueue(checkTransactionClient(options), this.#schema, channel, null);
      if (refusal === produced) throw channelProduced(channel);
      return;
    }
    await this.#store.end(channel);
    this.#reader.published(channel);
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
    const begun = await Promise.all(names.map((name) => this.#begin(name, places?.get(name), settings)));
    this.#open();
    const beginning = {
      cursors: begun.map(({ cursor }) => cursor),
      isMissing: begun.some(({ isMissing }) => isMissing),
    };
    const subscription: AsyncIterable<PublishedEvent> = new Subscription(this, beginning, settings);
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

  /** Where a subscription begins in a channel, and whether something is missing before that. */
  async #begin(
    channel: string,
    place: Place | undefined,
    { lastEventId, from }: SubscribeSettings,
  ): Promise<{ cursor: ChannelCursor; isMissing: boolean }> {
    const begin = (at: Place, newest: Newest, isOver: boolean, isMissing: boolean) => ({
      cursor: new ChannelCursor(this.#reader, channel, at, newest, isOver),
      isMissing,
    });
    // Most clients that come back missed little: what they want is here.
    const tail = this.#reader.find(channel);
    if (place !== undefined && tail?.has(place) === true) return begin(place, { place, head: tail.head }, false, false);
    const { head, start, clock } = await this.#store.locate(channel);
    if (head === undefined) {
      // A channel lives for `maxAge` at least: since then none has come and gone.
      const isKnown = place !== undefined && "asOf" in place && clock - place.asOf < this.#store.history.maxAge;
      return begin({ asOf: clock }, { place: { asOf: clock }, head }, false, lastEventId !== undefined && !isKnown);
    }
    const { run, last, isEnded } = head;
    const newest = { place: { run, n: last }, head };
    const known = place === undefined ? undefined : placeIn(head, place, this.#store.history.maxAge);
    const isMissing =
      lastEventId === undefined
        ? // What a producer fills is read from its beginning, or it is not whole.
          from === "start" && head.production !== "none" && start > 0
        : known === undefined || known < start;
    const n = isMissing || (lastEventId === undefined && from === "start") ? start : (known ?? last);
    return begin({ run, n }, newest, isEnded && n >= last, isMissing);
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
    await this.#producers.close();
    await Promise.all([this.#reader.close(), this.#sweeper.close()]);
  }

  #open(): void {
    if (this.isClosed) throw brokerClosed();
    this.#sweeper.start();
  }
}
