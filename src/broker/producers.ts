import type { ServerSentEvent } from "../format/event.js";
import type { ProduceOptions, Producer, Production } from "./broker.js";
import { ChannelProducer } from "./channel-producer.js";
import { brokerClosed, checkChannel, checkProduceOptions, checkProducerSource } from "./checks.js";
import type { ProducerStore } from "./producer-store.js";

/** Implements `produce` and `stop` for every broker, and keeps the producers that run in this process. */
export class Producers<E extends ServerSentEvent> {
  readonly #store: ProducerStore;
  readonly #running = new Set<ChannelProducer>();
  #isClosed = false;

  constructor(store: ProducerStore) {
    this.#store = store;
  }

  async produce(
    channel: string,
    source: (producer: Producer) => unknown,
    options?: ProduceOptions<E>,
  ): Promise<Production | undefined> {
    checkChannel(channel);
    checkProducerSource(source);
    const settings = checkProduceOptions(options);
    this.#checkOpen();
    const producer = new ChannelProducer(this.#store, channel, settings);
    if (!(await producer.claim(() => this.#isClosed))) return undefined;
    if (this.#isClosed) await producer.close();
    this.#checkOpen();
    this.#running.add(producer);
    const forget = () => void this.#running.delete(producer);
    producer.done.then(forget, forget);
    producer.run(source);
    return { done: producer.done };
  }

  async stop(channel: string): Promise<boolean> {
    checkChannel(channel);
    this.#checkOpen();
    return this.#store.stop(channel);
  }

  /** Stops the producers of this process and ends their channels. The store must still work. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#running].map((producer) => producer.close()));
  }

  #checkOpen(): void {
    if (this.#isClosed) throw brokerClosed();
  }
}
