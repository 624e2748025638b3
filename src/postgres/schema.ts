import { createHash } from "node:crypto";
import { invalidOption, readOptions } from "../checks.js";
import { functions } from "./functions.js";
import { dollarQuoted, identifier, literal } from "./sql.js";

export const defaultSchema = "event_source";

/** The number of the lock for which processes that migrate at once wait. */
const migrationLock = 5_067_093_914_262_391;

/**
 * The statements that make the broker's schema, for the application's own migrations: they may run in its
 * transaction, and again wherever they have run before. `broker.migrate()` runs the same.
 *
 * @throws {EventStreamError} `ERR_INVALID_OPTION`
 * @example await client.query(postgresSchema());
 */
export function postgresSchema(options: { readonly schema?: string | undefined } = {}): string {
  const { schema: name } = readOptions("postgresSchema", options ?? {}, {
    schema: { default: defaultSchema, read: checkSchema },
  });
  const s = identifier(name);
  return `${definition(name)}
-- Last, because it says that everything above has been done.
CREATE OR REPLACE FUNCTION ${s}.version() RETURNS text LANGUAGE sql IMMUTABLE AS ${dollarQuoted(
    `SELECT ${literal(schemaVersion(name))}`,
  )};
`;
}

/** The answer of `version()` in a schema that this release has made. */
export function schemaVersion(schema: string): string {
  return createHash("sha256").update(definition(schema)).digest("hex").slice(0, 16);
}

/**
 * The name that a schema's brokers notify and listen to: plain, because PGlite has rules of its own for quoted ones.
 */
export function bellOf(schema: string): string {
  return `event_source_${createHash("sha256").update(schema).digest("hex").slice(0, 16)}`;
}

/** @throws {EventStreamError} `ERR_INVALID_OPTION` */
export function checkSchema(schema: unknown): string {
  const isName =
    typeof schema === "string" &&
    schema !== "" &&
    !/\0|\p{Surrogate}/u.test(schema) &&
    Buffer.byteLength(schema) <= 63 &&
    !schema.startsWith("pg_");
  if (isName) return schema;
  throw invalidOption("schema", schema, 'a name of 1 to 63 bytes that does not begin with pg_, such as "event_source"');
}

/**
 * - `channels`: every publish updates a row, within its page (HOT), because half of each page is kept free and no
 *   column that changes is indexed. Every event's id has the `id` and the `era`, which is the server's timeline; up
 *   to `since`, ids with `prior_era` are valid too. Events up to `trimmed` have been deleted. `producer` is a token,
 *   `production` its state (live, ended, stopped, lost), `produced` the number of its last event.
 * - `events`: `n` counts from 1 without a hole, so that a gap is arithmetic.
 * - `pending`: the events that transactions have published and nobody has numbered yet. A null payload ends the
 *   channel.
 */
function definition(schema: string): string {
  const s = identifier(schema);
  return `SELECT pg_advisory_xact_lock(${migrationLock});
DO ${dollarQuoted(`BEGIN
  -- CREATE SCHEMA IF NOT EXISTS asks for the right to create one, even where it exists.
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = ${literal(schema)}) THEN CREATE SCHEMA ${s}; END IF;
END`)};
CREATE TABLE IF NOT EXISTS ${s}.channels (
  name text COLLATE "C" PRIMARY KEY,
  id bigint NOT NULL UNIQUE DEFAULT ('x' || right(replace(gen_random_uuid()::text, '-', ''), 14))::bit(56)::bigint,
  born timestamptz NOT NULL DEFAULT clock_timestamp(),
  era bigint NOT NULL,
  prior_era bigint,
  since bigint NOT NULL DEFAULT 0,
  last bigint NOT NULL DEFAULT 0,
  trimmed bigint NOT NULL DEFAULT 0,
  ended_at timestamptz,
  touched timestamptz NOT NULL DEFAULT clock_timestamp(),
  producer text,
  production text,
  produced bigint NOT NULL DEFAULT 0,
  lease_until timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS leases ON ${s}.channels (lease_until) WHERE production = 'live';
CREATE TABLE IF NOT EXISTS ${s}.events (
  channel bigint,
  n bigint,
  at timestamptz NOT NULL,
  payload text NOT NULL,
  PRIMARY KEY (channel, n)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE IF NOT EXISTS ${s}.pending (
  id bigint GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  payload text,
  PRIMARY KEY (name, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
${functions(s, bellOf(schema))}`;
}
