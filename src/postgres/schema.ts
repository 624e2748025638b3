import { createHash } from "node:crypto";
import { invalidOption, readOptions } from "../checks.js";
import { functions } from "./functions.js";
import { dollarQuoted, identifier, literal } from "./sql.js";

export const defaultSchema = "event_source";

/** The key of the advisory lock that makes processes migrate one after another. */
const migrationLock = 5_067_093_914_262_391;

/**
 * The statements that make the broker's schema, for the application's own migrations. They may run in a transaction of
 * the application, and may run again where they have run before. `broker.migrate()` runs the same statements.
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

/** What `version()` returns in a schema that this release has made. */
export function schemaVersion(schema: string): string {
  return versionOf(definition(schema));
}

/** A hash of statements. Comments and line breaks do not count: a change to them needs no migration. */
export function versionOf(statements: string): string {
  const code = statements.replace(/^ *--.*$/gm, "").replace(/\s+/g, " ");
  return createHash("sha256").update(code).digest("hex").slice(0, 16);
}

/**
 * The name by which a schema's brokers notify and listen. It needs no quotes, because PGlite has its own rules for
 * quoted names.
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
 * - `channels`: every publish updates the channel's row. The update stays within the row's page (HOT), because half of
 *   each page is kept free and no column that a publish changes is indexed. An event's id contains the channel's `id`
 *   and `era`, which is the server's timeline. Up to event `since`, ids with `prior_era` are valid too. Events up to
 *   `trimmed` have been deleted. `producer` is the producer's token, `production` its state (live, ended, stopped,
 *   lost), and `produced` the number of its last event.
 * - `events`: `n` counts from 1 without a hole, so that missing events show in the numbers.
 * - `pending`: events that transactions have published and that have no number yet. A null payload ends the channel.
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
