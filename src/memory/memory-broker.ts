import { EventStreamError, show, unknownOption } from "../errors.js";
import type { ServerSentEvent } from "../format/event.js";
import { checkChannel, checkChannels, checkHistory, checkSubscribeOptions } from "../broker/checks.js";
import type { Broker, HistoryOptions, PublishedEvent, SubscribeOptions } from "../broker/broker.js";
import { Channels } from "./channels.js";
import { publishAll } from "../broker/publish-all.js";
import { encodeForPublishing } from "../broker/published-event.js";

/**
 * A broker for one process: its channels live in memory and go with it. A client that comes back
 * after a restart gets a `gap`, and what was published since.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example const broker = memoryBroker<Message>({ history: { maxEvents: 200 } });
 */
export function memoryBroker<E extends ServerSentEvent = ServerSentEvent>(
  options: { readonly history?: HistoryOptions | undefined } = {},
): Broker<E> {
  if (typeof options !== "object" || options === null) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The options of memoryBroker are ${show(options)}; they must be an object.`,
    );
  }
  const { history, ...unknown } = options;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw unknownOption("memoryBroker", stranger, "history: { maxEvents, maxAge }");
  }
  return new MemoryBroker<E>(new Channels(checkHistory(history)));
}

class MemoryBroker<E extends ServerSentEvent> implements Broker<E> {
  readonly #logs: Channels;
  #isClosed = false;

  constructor(logs: Channels) {
    this.#logs = logs;
  }

  async publish(channel: string, event: E): Promise<string> {
    checkChannel(channel);
    const parts = encodeForPublishing(event);
    const logs = this.#open();
    if (logs.get(channel)?.isEnded === true) {
      throw new EventStreamError(
        "ERR_CHANNEL_ENDED",
        `The channel ${show(channel)} has been ended; publish to another one, such as one for each answer.`,
      );
    }
    return logs.append(channel, parts);
  }

  publishAll(channel: string, source: AsyncIterable<E> | Iterable<E>): Promise<void> {
    return publishAll(this, channel, source);
  }

  async end(channel: string): Promise<void> {
    this.#open().end(checkChannel(channel));
  }

  async subscribe(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): Promise<AsyncIterable<PublishedEvent<E>>> {
    const names = checkChannels(channels);
    const settings = checkSubscribeOptions(options);
    return this.#open().subscribe(names, settings) as AsyncIterable<PublishedEvent> as AsyncIterable<PublishedEvent<E>>;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    // Who waits is woken first, for what has just been published.
    await Promise.resolve();
    this.#logs.close();
  }

  #open(): Channels {
    if (this.#isClosed)
      throw new EventStreamError(
        "ERR_BROKER_CLOSED",
        "The broker has been closed; close it after everything that publishes or subscribes.",
      );
    return this.#logs;
  }
}
