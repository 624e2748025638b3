import type {
  HistoryOptions,
  ProduceOptions,
  Producer,
  Broker,
  Production,
  PublishedEvent,
  SubscribeOptions,
} from "../broker/broker.js";
import {
  brokerClosed,
  channelEnded,
  channelProduced,
  checkChannel,
  checkChannels,
  checkSubscribeOptions,
  historyOption,
} from "../broker/checks.js";
import { readOptions } from "../checks.js";
import { Producers } from "../broker/producers.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing } from "../broker/published-event.js";
import type { ServerSentEvent } from "../format/event.js";
import { Channels } from "./channels.js";
import { ChannelClaims } from "./claims.js";

/** The options of `memoryBroker`. */
export interface MemoryBrokerOptions {
  /** How much of each channel is kept for clients that come back. */
  readonly history?: HistoryOptions | undefined;
}

/**
 * A broker for one process: its channels live in memory and are lost when the process ends. A client that comes back
 * after a restart gets a `gap`, then what has been published since.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = memoryBroker<Message>({ history: { maxEvents: 200 } });
 */
export function memoryBroker<E extends ServerSentEvent = ServerSentEvent>(
  options: MemoryBrokerOptions = {},
): Broker<E> {
  const { history } = readOptions("memoryBroker", options, { history: historyOption });
  return new MemoryBroker<E>(new Channels(history));
}

class MemoryBroker<E extends ServerSentEvent> implements Broker<E> {
  readonly #logs: Channels;
  readonly #producers: Producers<E>;
  #isClosed = false;

  constructor(logs: Channels) {
    this.#logs = logs;
    this.#producers = new Producers(new ChannelClaims(logs));
  }

  async publish(channel: string, event: E): Promise<string> {
    checkChannel(channel);
    const parts = encodeForPublishing(event);
    const logs = this.#open();
    if (logs.get(channel)?.isEnded === true) throw channelEnded(channel);
    return logs.append(channel, parts);
  }

  publishAll(channel: string, source: unknown): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string): Promise<void> {
    checkChannel(channel);
    const logs = this.#open();
    if (logs.get(channel)?.claim?.state === "live") throw channelProduced(channel);
    logs.end(channel);
  }

  async subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>> {
    const names = checkChannels(channels);
    const settings = checkSubscribeOptions(options);
    return this.#open().subscribe(names, settings) as AsyncIterable<PublishedEvent> as AsyncIterable<PublishedEvent<E>>;
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

  async close(): Promise<void> {
    this.#isClosed = true;
    // Waiting also lets subscriptions read what has just been published.
    await this.#producers.close();
    this.#logs.close();
  }

  #open(): Channels {
    if (this.#isClosed) throw brokerClosed();
    return this.#logs;
  }
}
