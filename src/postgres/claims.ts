import type { ProducerStore, Verdict } from "../broker/producer-store.js";
import type { EventParts } from "../broker/published-event.js";
import type { EventStreamError } from "../errors.js";
import { lacksPermission, lacksSchema } from "./database.js";
import { type ProduceRequest, produceStatement } from "./produce-statement.js";
import type { Reader } from "./reader.js";
import type { Store } from "./store.js";

/** The producers of channels in the database. */
export class ChannelClaims implements ProducerStore {
  readonly hasLeases = true;
  readonly #store: Store;
  readonly #reader: Reader;

  constructor(store: Store, reader: Reader) {
    this.#store = store;
    this.#reader = reader;
  }

  isFinal({ cause }: EventStreamError): boolean {
    return this.#store.isClosed || lacksSchema(cause) || lacksPermission(cause);
  }

  async claim(channel: string, token: string, lease: number): Promise<boolean> {
    return (await this.#ask(channel, { act: "claim", token, lease })) === "true";
  }

  append(channel: string, token: string, number: number, parts: EventParts): Promise<Verdict> {
    return this.#ask(channel, { act: "append", token, number, parts }) as Promise<Verdict>;
  }

  renew(channel: string, token: string, lease: number): Promise<Verdict> {
    return this.#ask(channel, { act: "renew", token, lease }) as Promise<Verdict>;
  }

  end(channel: string, token: string, last?: EventParts): Promise<Verdict> {
    return this.#ask(channel, { act: "end", token, parts: last }) as Promise<Verdict>;
  }

  async stop(channel: string): Promise<boolean> {
    return (await this.#ask(channel, { act: "stop" })) === "true";
  }

  watch(channel: string, _token: string, wake: () => void): () => void {
    return this.#reader.watch(channel, wake);
  }

  async #ask(channel: string, request: ProduceRequest): Promise<string> {
    const { s, history } = this.#store;
    const [rows = []] = await this.#store.run([produceStatement(s, channel, request, history)]);
    this.#store.onDrained(rows);
    this.#reader.onPublished(channel);
    return rows.at(-1)?.[2] ?? "lost";
  }
}
