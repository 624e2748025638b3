import { channelEnded, channelProduced } from "../broker/checks.js";
import type { EventParts } from "../broker/published-event.js";
import { Batch } from "./batch.js";
import type { Deadline } from "./deadline.js";
import { originalName, storedName, textArray } from "./sql.js";
import type { Store } from "./store.js";

/** The largest size of one statement. An event counts 1, and 1 more for each thousand characters of its payload. */
const batchSize = 1000;

interface Publication {
  readonly name: string;
  /** `null` ends the channel. */
  readonly payload: string | null;
}

/** The answer in place of an id if the channel has a producer: only the producer may end it. */
export const produced = "produced";

/**
 * Publishes outside of the application's transactions. Events that are published while a statement is under way go
 * together in the next one, and those of one channel keep their order.
 */
export class Publisher {
  readonly #store: Store;
  readonly #publications: Batch<Publication, string | null>;

  constructor(store: Store) {
    this.#store = store;
    const sizeOf = ({ payload }: Publication): number => 1 + (payload?.length ?? 0) / 1000;
    this.#publications = new Batch(store.timeout, batchSize, (all, deadline) => this.#number(all, deadline), sizeOf);
  }

  /** @returns the event's id */
  async publish(channel: string, parts: EventParts): Promise<string> {
    const id = await this.#publications.ask({ name: storedName(channel), payload: JSON.stringify(parts) });
    if (id === null) throw channelEnded(channel);
    return id;
  }

  async end(channel: string): Promise<void> {
    const id = await this.#publications.ask({ name: storedName(channel), payload: null });
    if (id === produced) throw channelProduced(channel);
  }

  async #number(publications: readonly Publication[], deadline: Deadline): Promise<(string | null)[]> {
    const { s, history, onDrop } = this.#store;
    const names = textArray(publications.map(({ name }) => name));
    const payloads = textArray(publications.map(({ payload }) => payload));
    const channels = textArray([...new Set(publications.map(({ name }) => name))]);
    const statement = `SELECT * FROM ${s}.number(${channels}, ${names}, ${payloads}, ${history.maxEvents})`;
    const ids: (string | null)[] = publications.map(() => null);
    const [rows = []] = await this.#store.run([statement], deadline);
    for (const [item, id, dropped] of rows) {
      if (typeof item === "string") ids[Number(item) - 1] = id ?? null;
      else onDrop(originalName(dropped as string));
    }
    return ids;
  }
}
