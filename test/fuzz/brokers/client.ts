import type { Broker, PublishedEvent } from "express-event-source";
import { Expectation, type Model, placeAt, type Places } from "./model.js";
import type { Step } from "./program.js";

/** The data of each published event. */
export interface Payload {
  readonly channel: string;
  readonly index: number;
}

/** A client that reads as many events as it is allowed, leaves, and comes back with an id. */
export class Client {
  readonly #broker: Broker;
  readonly #model: Model;
  readonly #from: "now" | "start";
  readonly channels: readonly string[];
  /** The ids it has seen, and what comes after each. */
  readonly #seen: { readonly id: string; readonly places: Places }[] = [];
  #iterator: AsyncIterator<PublishedEvent> | undefined;
  #abort: AbortController | undefined;
  #allowed = 0;
  #isReading = false;
  expectation: Expectation | undefined;
  hasEnded = false;
  /** The first thing that was wrong. */
  problem: Error | undefined;

  constructor(
    broker: Broker,
    model: Model,
    { channels, from }: { channels: readonly string[]; from: "now" | "start" },
  ) {
    this.#broker = broker;
    this.#model = model;
    this.#from = from;
    this.channels = channels;
  }

  get isConnected(): boolean {
    return this.#iterator !== undefined;
  }

  /** @throws the error that `subscribe` rejects with */
  async connect({ id, which }: Extract<Step, { do: "connect" }>, foreignId: string | undefined): Promise<void> {
    if (this.isConnected) return;
    const known =
      id === "last"
        ? this.#seen.at(-1)
        : id === "earlier"
          ? this.#seen[which % Math.max(1, this.#seen.length)]
          : undefined;
    // With several channels, the id of another channel's event may be a valid place, so it is used only with one.
    const strange =
      id === "made up" ? `no-id-${which}` : id === "foreign" && this.channels.length === 1 ? foreignId : undefined;
    const lastEventId = known?.id ?? strange;
    const model = this.#model;
    const placeOf = (channel: string) => {
      const count = model.count(channel);
      const isOpen = strange !== undefined || this.#from === "start";
      return isOpen ? placeAt(0, model.firstHeld(channel)) : placeAt(model.firstUnsure(channel), count);
    };
    const places = known?.places ?? new Map(this.channels.map((channel) => [channel, placeOf(channel)]));
    const abort = new AbortController();
    const subscription = await this.#broker.subscribe(this.channels, {
      lastEventId,
      from: this.#from,
      signal: abort.signal,
    });
    this.expectation = new Expectation(model, places, {
      isLost: strange !== undefined,
      hasId: lastEventId !== undefined,
    });
    this.hasEnded = false;
    this.#allowed = 0;
    this.#abort = abort;
    this.#iterator = subscription[Symbol.asyncIterator]();
  }

  read(count: number): void {
    this.#allowed = count;
    if (!this.#isReading) void this.#readOn().catch((error: Error) => (this.problem ??= error));
  }

  async #readOn(): Promise<void> {
    this.#isReading = true;
    try {
      for (let iterator = this.#iterator; iterator !== undefined && this.#allowed > 0; iterator = this.#iterator) {
        this.#allowed -= 1;
        const result = await iterator.next();
        // This result was on its way when the client left.
        if (iterator !== this.#iterator) continue;
        if (result.done === true) {
          this.hasEnded = true;
          this.#iterator = undefined;
          this.expectation?.end();
        } else this.#take(result.value);
      }
    } finally {
      this.#isReading = false;
    }
  }

  #take(event: PublishedEvent): void {
    const expectation = this.expectation as Expectation;
    if (event.id === undefined) return expectation.gap();
    const { channel, index } = event.data as Payload;
    expectation.event(channel, index);
    this.#seen.push({ id: event.id, places: expectation.places });
  }

  leave(how: "return" | "abort"): void {
    const iterator = this.#iterator;
    this.#iterator = undefined;
    if (how === "return") void iterator?.return?.();
    else this.#abort?.abort();
  }
}
