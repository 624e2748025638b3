import { type History, checkHistory } from "../broker/checks.js";
import type { HistoryOptions } from "../broker/broker.js";
import { EventStreamError, show, unknownOption } from "../errors.js";
import type { Database } from "./database.js";
import { type PGliteDatabase, PGliteStore } from "./pglite.js";
import { PoolDatabase, type PostgresPool } from "./pool.js";
import { checkSchema, defaultSchema } from "./schema.js";

/** How a `postgresBroker` is made. */
export interface PostgresBrokerOptions {
  /** A `Pool` of `pg`, or a `PGlite`. The broker never closes it, and borrows its clients for one statement at a time. */
  readonly pool: PostgresPool | PGliteDatabase;
  /**
   * The schema that holds the broker's tables and functions: `migrate()` makes it.
   *
   * @default "event_source"
   */
  readonly schema?: string | undefined;
  /** How much of each channel is kept. An eighth more may be. Give all processes the same. */
  readonly history?: HistoryOptions | undefined;
  /**
   * Whether to hear of new events at once, by LISTEN on a connection of the broker's own, made like those of the pool.
   * `{ connectionString }` where the pool goes through PgBouncer, which passes no notification on: a way around it.
   * `false`: the broker asks every `pollInterval`.
   *
   * @default true
   */
  readonly listen?: boolean | { readonly connectionString: string } | undefined;
  /**
   * How often, in milliseconds, all channels with subscriptions are checked, whether a notification came or not.
   *
   * @default 10_000
   */
  readonly pollInterval?: number | undefined;
  /**
   * Milliseconds after which `publish`, `end` and `subscribe` reject where Postgres does not answer, or the pool has no
   * client to give.
   *
   * @default 5000
   */
  readonly timeout?: number | undefined;
}

/** Checked and complete. */
export interface PostgresSettings {
  readonly database: Database;
  readonly schema: string;
  readonly history: History;
  readonly listens: boolean;
  readonly pollInterval: number;
  readonly timeout: number;
}

const names = "pool, schema, history, listen, pollInterval and timeout";

/** @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value */
export function checkPostgresOptions(options: PostgresBrokerOptions): PostgresSettings {
  const {
    pool,
    schema = defaultSchema,
    history,
    listen = true,
    pollInterval = 10_000,
    timeout = 5000,
    ...unknown
  } = options ?? {};
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) throw unknownOption("postgresBroker", stranger, names);
  checkDelay("pollInterval", pollInterval);
  checkDelay("timeout", timeout);
  const isWay = typeof listen === "object" && listen !== null && typeof listen.connectionString === "string";
  if (typeof listen !== "boolean" && !isWay)
    throw invalid(
      "listen",
      listen,
      'true, false, or { connectionString: "postgres://…" } that leads to Postgres itself',
    );
  const connectionString = isWay ? listen.connectionString : undefined;
  return {
    database: databaseOf(pool, connectionString),
    schema: checkSchema(schema),
    history: checkHistory(history),
    listens: listen !== false,
    pollInterval,
    timeout,
  };
}

function databaseOf(pool: unknown, connectionString: string | undefined): Database {
  const { connect, options, Client, transaction, listen } = (
    typeof pool === "object" && pool !== null ? pool : {}
  ) as Record<string, unknown>;
  if (typeof connect === "function" && typeof options === "object" && typeof Client === "function")
    return new PoolDatabase(pool as PostgresPool, connectionString);
  if (typeof transaction === "function" && typeof listen === "function" && connectionString === undefined)
    return new PGliteStore(pool as PGliteDatabase);
  throw invalid(
    "pool",
    pool,
    'a Pool of pg: import { Pool } from "pg", then postgresBroker({ pool: new Pool({ connectionString }) }); or a PGlite, which needs no connectionString',
  );
}

function checkDelay(name: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1 || (value as number) >= 2 ** 31)
    throw invalid(name, value, "a whole number of milliseconds from 1 to 2147483647");
}

function invalid(name: string, value: unknown, must: string): EventStreamError {
  return new EventStreamError("ERR_INVALID_OPTION", `The option ${name} is ${show(value)}; it must be ${must}.`, {
    field: name,
  });
}
