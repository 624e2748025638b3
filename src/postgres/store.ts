import { randomUUID } from "node:crypto";
import type { History } from "../broker/checks.js";
import type { EventStreamError } from "../errors.js";
import { backOff } from "../runtime/backoff.js";
import { Batch } from "./batch.js";
import { type Database, explain, type Row, type Runner, sqlState } from "./database.js";
import { type ChannelStatus, statusOf } from "./channel-status.js";
import { Deadline } from "./deadline.js";
import type { Place } from "./place.js";
import { milliseconds } from "./plpgsql.js";
import { produceStatement } from "./produce-statement.js";
import { type ReadResult, resultsOf, type ReadRequest, readStatement } from "./read-statement.js";
import { identifier, originalName, storedName, textArray } from "./sql.js";

/** How many channels one statement looks up at most. */
const channelsAtOnce = 1000;

/** How many pages one statement reads at most. */
const pagesAtOnce = 16;

/** The first and the last event of a channel at the moment. */
export interface Location {
  /** `undefined` where the channel does not exist. */
  readonly status: ChannelStatus | undefined;
  /** The number of the event before the first that is held. */
  readonly start: number;
  /** The server's clock, in milliseconds. */
  readonly clock: number;
}

/** What a check of channels has found. */
export interface Check {
  readonly clock: number;
  readonly results: readonly ReadResult[];
  /** Whether more events of transactions may be pending. */
  readonly hasMore: boolean;
}

/** The channels in the database, asked through the application's pool. */
export class Store {
  readonly history: History;
  readonly timeout: number;
  /** The schema's name as an SQL identifier. */
  readonly s: string;
  readonly schema: string;
  readonly #database: Database;
  readonly onDrop: (channel: string) => void;
  readonly #locations: Batch<string, Location>;
  readonly #pages: Batch<ReadRequest, ReadResult>;

  /** @param onDrop called with the channel of each event that was dropped because the channel had ended */
  constructor(
    database: Database,
    schema: string,
    history: History,
    timeout: number,
    onDrop: (channel: string) => void,
  ) {
    this.#database = database;
    this.schema = schema;
    this.s = identifier(schema);
    this.history = history;
    this.timeout = timeout;
    this.onDrop = onDrop;
    this.#locations = new Batch(timeout, channelsAtOnce, (channels, deadline) => this.#locate(channels, deadline));
    this.#pages = new Batch(timeout, pagesAtOnce, (requests, deadline) => this.#readPages(requests, deadline));
  }

  /** Whether the application has closed the database. */
  get isClosed(): boolean {
    return this.#database.isClosed;
  }

  locate(channel: string): Promise<Location> {
    return this.#locations.ask(channel);
  }

  /**
   * Reads a page of what comes after a place. Tries again while the database is away, as long as the page is wanted.
   */
  async page(channel: string, place: Place, isWanted: () => boolean): Promise<ReadResult> {
    for (let failures = 0; ; failures++) {
      try {
        const page = await this.#pages.ask({ channel, place });
        if (page.error !== undefined && page.entries.length === 0) throw page.error as Error;
        return page;
      } catch (error) {
        if ((error as EventStreamError).code !== "ERR_BROKER_UNAVAILABLE" || !isWanted()) throw error;
        await backOff(failures);
      }
    }
  }

  /**
   * Runs statements as one transaction. If the transaction had to give way to another one, nothing of it was done, so
   * it runs again.
   *
   * @param needs the permissions to name in the message if the role lacks one
   * @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE`, `ERR_UNSERIALIZABLE_DATA`
   */
  async run(
    statements: readonly string[],
    deadline: Deadline = new Deadline(this.timeout),
    needs?: string,
  ): Promise<readonly (readonly Row[])[]> {
    for (;;) {
      try {
        return await this.#database.run(statements, deadline);
      } catch (error) {
        const isConflict = ["40001", "40P01"].includes(sqlState(error) ?? "");
        if (!isConflict || deadline.isOver) throw explain(error, this.schema, needs);
      }
    }
  }

  /**
   * The statement that numbers the events that transactions have published, and ends channels whose producer's lease is
   * over: these channels, or the first that need it.
   */
  drainStatement(channels?: readonly string[]): string {
    const names = channels === undefined ? "NULL" : textArray(channels.map(storedName));
    return `SELECT * FROM ${this.s}.drain(${names}, ${this.history.maxEvents})`;
  }

  /**
   * Reports the events that were dropped.
   *
   * @param rows the answer to a `drainStatement`
   * @returns whether more may be pending
   */
  onDrained(rows: readonly Row[]): boolean {
    let hasMore = false;
    for (const [dropped, more] of rows) {
      if (typeof dropped === "string") this.onDrop(originalName(dropped));
      hasMore ||= more !== null;
    }
    return hasMore;
  }

  /**
   * Has the next drain end the channel of a producer that the database has forgotten: claims it for another, whose lease
   * is over at once.
   */
  async lose(channel: string, runner: Runner): Promise<void> {
    const request = { act: "claim", token: randomUUID(), lease: 0 } as const;
    const statement = produceStatement(this.s, channel, request, this.history);
    const [rows = []] = await runner.run([statement], new Deadline(this.timeout));
    this.onDrained(rows);
  }

  async read(requests: readonly ReadRequest[], runner: Runner): Promise<ReadResult[]> {
    const statement = readStatement(this.s, requests, this.history.maxAge, true);
    const [rows = []] = await runner.run([statement], new Deadline(this.timeout));
    return resultsOf(rows, requests);
  }

  /** Asks which channels have changed. Also keeps all of them from being forgotten, as they would be after `maxAge`. */
  async check(requests: readonly ReadRequest[], runner: Runner): Promise<Check> {
    const { s, history, timeout } = this;
    const names = textArray(requests.map(({ channel }) => storedName(channel)));
    const statements = [
      `SELECT ${milliseconds("clock_timestamp()")}`,
      // Drains first: a process that does not listen would otherwise read the numbered events at the next check only.
      this.drainStatement(),
      readStatement(s, requests, history.maxAge, false),
      `SELECT ${s}.touch(${names}, ${Math.ceil(history.maxAge / 4)})`,
    ];
    const [clock, drained = [], rows = []] = await runner.run(statements, new Deadline(timeout));
    return {
      clock: Number(clock?.[0]?.[0]),
      results: resultsOf(rows, requests),
      hasMore: this.onDrained(drained),
    };
  }

  async #locate(channels: readonly string[], deadline: Deadline): Promise<Location[]> {
    const names = [...new Set(channels)];
    const stored = textArray(names.map(storedName));
    const alive = `ARRAY(SELECT name FROM ${this.s}.channels WHERE name = ANY (${stored}) AND ended_at IS NULL)`;
    const [drained = [], rows = []] = await this.run(
      [
        this.drainStatement(names),
        `SELECT * FROM ${this.s}.locate(${stored}, ${this.history.maxAge})`,
        // The first check of a new subscription may be too late to keep its channel from being forgotten.
        `SELECT ${this.s}.touch(${alive}, ${Math.ceil(this.history.maxAge / 4)})`,
      ],
      deadline,
    );
    this.onDrained(drained);
    const locations = new Map(
      rows.map((row, index) => [
        names[index] as string,
        {
          clock: Number(row[0]),
          start: Number(row[9] ?? 0),
          status: row[1] === null ? undefined : statusOf(row.slice(1)),
        },
      ]),
    );
    return channels.map((channel) => locations.get(channel) as Location);
  }

  /** Subscribers that come back to the same place share a page. */
  async #readPages(readings: readonly ReadRequest[], deadline: Deadline): Promise<ReadResult[]> {
    const keys = readings.map((reading) => JSON.stringify(reading));
    const distinct = new Map(readings.map((reading, index) => [keys[index] as string, reading]));
    const asked = [...distinct.values()];
    const [rows = []] = await this.run([readStatement(this.s, asked, this.history.maxAge, true)], deadline);
    const order = [...distinct.keys()];
    const found = new Map(resultsOf(rows, asked).map((one, index) => [order[index], one]));
    return keys.map((key) => found.get(key) as ReadResult);
  }
}
