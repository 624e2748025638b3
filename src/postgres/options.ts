import { type History, historyOption } from "../broker/checks.js";
import type { HistoryOptions } from "../broker/broker.js";
import { invalidOption, option, type Option, property, readOptions } from "../checks.js";
import type { Database } from "./database.js";
import { type PGliteDatabase, EmbeddedDatabase } from "./pglite.js";
import { PoolDatabase, type PostgresPool } from "./pool.js";
import { checkSchema, defaultSchema } from "./schema.js";

/** How a `postgresBroker` is made. */
export interface PostgresBrokerOptions {
  /**
   * A `Pool` of `pg`, or a `PGlite`. The broker never closes it, and borrows a client for one transaction at a time.
   */
  readonly pool: PostgresPool | PGliteDatabase;
  /**
   * The schema that holds the broker's tables and functions: `migrate()` makes it.
   *
   * @default "event_source"
   */
  readonly schema?: string | undefined;
  /** How much of each channel is kept; it may be up to an eighth more. Give all processes the same value. */
  readonly history?: HistoryOptions | undefined;
  /**
   * Whether to LISTEN, so that new events arrive at once. With a `Pool`, the broker opens one connection of its own for
   * this, with the pool's settings. If the pool goes through PgBouncer in transaction mode, which passes no
   * notifications on, give `{ connectionString }` with the address of Postgres itself. With `false`, the broker only
   * polls, every `pollInterval`.
   *
   * @default true
   */
  readonly listen?: boolean | { readonly connectionString: string } | undefined;
  /**
   * The longest time between two checks of all channels that have subscriptions, in milliseconds. The broker checks
   * even while notifications arrive. It checks more often if `maxAge` is short. A whole number from 1 to 2147483647.
   *
   * @default 10_000
   */
  readonly pollInterval?: number | undefined;
  /**
   * How long `publish`, `end` and `subscribe` wait for Postgres, or for a client of the pool, before they reject, in
   * milliseconds: a whole number from 1 to 2147483647. They reject with `ERR_BROKER_UNAVAILABLE`.
   *
   * @default 5000
   */
  readonly timeout?: number | undefined;
}

/** The options, checked and complete. */
export interface PostgresSettings {
  readonly database: Database;
  readonly schema: string;
  readonly history: History;
  readonly listens: boolean;
  readonly pollInterval: number;
  readonly timeout: number;
}

const delay = (fallback: number): Option<number> =>
  option(
    fallback,
    (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) < 2 ** 31,
    "a whole number of milliseconds from 1 to 2147483647",
  );

const table = {
  pool: { default: undefined, read: (pool: unknown) => pool },
  schema: { default: defaultSchema, read: checkSchema },
  history: historyOption,
  listen: option<NonNullable<PostgresBrokerOptions["listen"]>>(
    true,
    (value) => typeof value === "boolean" || isAddress(value),
    'true, false, or { connectionString: "postgres://…" } that leads to Postgres itself',
  ),
  pollInterval: delay(10_000),
  timeout: delay(5000),
};

/** @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value */
export function checkPostgresOptions(options: PostgresBrokerOptions): PostgresSettings {
  const { pool, listen, ...settings } = readOptions("postgresBroker", options ?? {}, table);
  const database = databaseOf(pool, typeof listen === "object" ? listen.connectionString : undefined);
  return { ...settings, database, listens: listen !== false };
}

function isAddress(value: unknown): boolean {
  return typeof value === "object" && value !== null && typeof property(value, "connectionString") === "string";
}

function databaseOf(pool: unknown, connectionString: string | undefined): Database {
  const { connect, options, Client, transaction, listen } = (
    typeof pool === "object" && pool !== null ? pool : {}
  ) as Record<string, unknown>;
  if (typeof connect === "function" && typeof options === "object" && typeof Client === "function")
    return new PoolDatabase(pool as PostgresPool, connectionString);
  if (typeof transaction === "function" && typeof listen === "function" && connectionString === undefined)
    return new EmbeddedDatabase(pool as PGliteDatabase);
  throw invalidOption(
    "pool",
    pool,
    "a Pool of pg, as in postgresBroker({ pool: new Pool({ connectionString }) }), or a PGlite, which takes no " +
      "listen.connectionString",
  );
}
