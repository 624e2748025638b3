import { channelEnded, channelProduced, type History } from "../broker/checks.js";
import type { EventParts } from "../broker/published-event.js";
import { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";
import { Batch } from "./batch.js";
import { type Database, explain, type Row, sqlState } from "./database.js";
import { type Head, headOf } from "./head.js";
import type { Place } from "./place.js";
import { type Found, foundIn, type Reading, readStatement } from "./readings.js";
import { identifier, originalName, storedName, textArray } from "./sql.js";

/** How many events, or kilobytes of them, go in one statement at most. */
const batchSize = 1000;

/** How many pages are read by one. */
const pagesAtOnce = 16;

interface Publication {
  readonly name: string;
  /** `null` ends the channel. */
  readonly payload: string | null;
}

/** In place of an id: a producer will end the channel. */
export const produced = "produced";

/** Where a channel stands; without a head it does not exist. */
export interface Location {
  readonly head: Head | undefined;
  /** The number of the event after which what is held begins. */
  readonly start: number;
  /** The server's clock, in milliseconds. */
  readonly clock: number;
}

/** The channels in the database, asked through the application's pool. */
export class Store {
  readonly history: History;
  readonly timeout: number;
  /** The schema's name as SQL. */
  readonly s: string;
  readonly #schema: string;
  readonly #database: Database;
  readonly #drop: (channel: string) => void;
  readonly #publications: Batch<Publication, string | null | EventStreamError>;
  readonly #locations: Batch<string, Location>;
  readonly #pages: Batch<Reading, Found>;

  /** @param drop told of each channel for which a transaction committed an event after its end */
  constructor(database: Database, schema: string, history: History, timeout: number, drop: (channel: string) => void) {
    this.#database = database;
    this.#schema = schema;
    this.s = identifier(schema);
    this.history = history;
    this.timeout = timeout;
    this.#drop = drop;
    const sizeOf = ({ payload }: Publication): number => 1 + (payload?.length ?? 0) / 1000;
    this.#publications = new Batch(timeout, batchSize, sizeOf, (all, left) => this.#number(all, left));
    this.#locations = new Batch<string, Location>(
      timeout,
      batchSize,
      () => 1,
      (all, left) => this.#locate(all, left),
    );
    this.#pages = new Batch<Reading, Found>(
      timeout,
      pagesAtOnce,
      () => 1,
      (all, left) => this.#read(all, left),
    );
  }

  /** @returns the event's id */
  async append(channel: string, parts: EventParts): Promise<string> {
    const id = await this.#publications.ask({ name: storedName(channel), payload: JSON.stringify(parts) });
    if (id instanceof EventStreamError) throw id;
    if (id === null) throw channelEnded(channel);
    return id;
  }

  async end(channel: string): Promise<void> {
    const id = await this.#publications.ask({ name: storedName(channel), payload: null });
    if (id instanceof EventStreamError) throw id;
    if (id === produced) throw channelProduced(channel);
  }

  locate(channel: string): Promise<Location> {
    return this.#locations.ask(channel);
  }

  /** What comes after a place, a page of it. As long as the database is away and it is wanted, it is asked for again. */
  async page(channel: string, place: Place, isWanted: () => boolean): Promise<Found> {
    for (let failures = 0; ; failures++) {
      try {
        const found = await this.#pages.ask({ channel, place });
        if (found.error !== undefined && found.entries.length === 0) throw found.error as Error;
        return found;
      } catch (error) {
        if ((error as EventStreamError).code !== "ERR_BROKER_UNAVAILABLE" || !isWanted()) throw error;
        await backOff(failures);
      }
    }
  }

  /** Asks again where the transaction lost against another one: then nothing of it was done. */
  async run(
    statements: readonly string[],
    timeout: number = this.timeout,
    needs?: string,
  ): Promise<readonly (readonly Row[])[]> {
    const deadline = performance.now() + timeout;
    for (;;) {
      try {
        return await this.#database.run(statements, deadline - performance.now());
      } catch (error) {
        const isConflict = ["40001", "40P01"].includes(sqlState(error) ?? "");
        if (!isConflict || performance.now() >= deadline) throw explain(error, this.#schema, needs);
      }
    }
  }

  /** Numbers what transactions have published: to these channels, or to the first few that have such events. */
  drainStatement(channels?: readonly string[]): string {
    const names = channels === undefined ? "NULL" : textArray(channels.map(storedName));
    return `SELECT * FROM ${this.s}.drain(${names}, ${this.history.maxEvents})`;
  }

  /** Says that channels are used: without it they are forgotten after `maxAge`. */
  touchStatement(channels: readonly string[]): string {
    return `SELECT ${this.s}.touch(${textArray(channels.map(storedName))}, ${Math.ceil(this.history.maxAge / 4)})`;
  }

  /** @returns whether more may be waiting */
  drained(rows: readonly Row[]): boolean {
    let hasMore = false;
    for (const [dropped, more] of rows) {
      if (typeof dropped === "string") this.#drop(originalName(dropped));
      hasMore ||= more !== null;
    }
    return hasMore;
  }

  async #number(publications: readonly Publication[], timeout: number): Promise<(string | null | EventStreamError)[]> {
    const names = textArray(publications.map(({ name }) => name));
    const payloads = textArray(publications.map(({ payload }) => payload));
    const channels = textArray([...new Set(publications.map(({ name }) => name))]);
    const statement = `SELECT * FROM ${this.s}.number(${channels}, ${names}, ${payloads}, ${this.history.maxEvents})`;
    const ids: (string | null)[] = publications.map(() => null);
    try {
      const [rows = []] = await this.run([statement], timeout);
      for (const [item, id, dropped] of rows) {
        if (typeof item === "string") ids[Number(item) - 1] = id ?? null;
        else this.#drop(originalName(dropped as string));
      }
      return ids;
    } catch (error) {
      // What the database cannot hold (a character, so many bytes) must not take the others with it.
      if ((error as EventStreamError).code !== "ERR_UNSERIALIZABLE_DATA") throw error;
      if (publications.length === 1) return [error as EventStreamError];
      const middle = publications.length >> 1;
      return [
        ...(await this.#number(publications.slice(0, middle), timeout)),
        ...(await this.#number(publications.slice(middle), timeout)),
      ];
    }
  }

  async #locate(channels: readonly string[], timeout: number): Promise<Location[]> {
    const names = [...new Set(channels)];
    const [drained = [], rows = []] = await this.run(
      [
        this.drainStatement(names),
        `SELECT * FROM ${this.s}.locate(${textArray(names.map(storedName))}, ${this.history.maxAge})`,
      ],
      timeout,
    );
    this.drained(drained);
    const locations = new Map(
      rows.map((row, index) => [
        names[index] as string,
        {
          clock: Number(row[0]),
          start: Number(row[9] ?? 0),
          head: row[1] === null ? undefined : headOf(row.slice(1)),
        },
      ]),
    );
    return channels.map((channel) => locations.get(channel) as Location);
  }

  /** Who comes back to the same place shares a page. */
  async #read(readings: readonly Reading[], timeout: number): Promise<Found[]> {
    const keys = readings.map((reading) => JSON.stringify(reading));
    const distinct = new Map(readings.map((reading, index) => [keys[index] as string, reading]));
    const asked = [...distinct.values()];
    const [rows = []] = await this.run([readStatement(this.s, asked, this.history.maxAge, true)], timeout);
    const found = new Map(foundIn(rows, asked).map((one, index) => [[...distinct.keys()][index], one]));
    return keys.map((key) => found.get(key) as Found);
  }
}
