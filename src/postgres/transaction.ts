import { EventStreamError, show } from "../errors.js";
import { explain, lacksSchema } from "./database.js";
import * as pglite from "./pglite.js";
import * as pool from "./pool.js";
import { identifier, literal, storedName } from "./sql.js";

/** The client of the application's transaction: one of `pg`, or the `tx` of a `PGlite`. */
export type TransactionClient = pool.PostgresClient | pglite.PGliteTransaction;

/** @throws {EventStreamError} `ERR_INVALID_OPTION` */
export function checkTransactionClient(options: unknown): TransactionClient {
  const { client, ...others } = (typeof options === "object" && options !== null ? options : {}) as {
    client?: Partial<pool.PostgresClient & pglite.PGliteTransaction>;
  };
  const [unknownOption] = Object.keys(others);
  const isClient =
    typeof client === "object" &&
    client !== null &&
    // A pool has no escapeLiteral, and a PGlite no rollback.
    ((typeof client.query === "function" && typeof client.escapeLiteral === "function") ||
      (typeof client.exec === "function" && typeof client.rollback === "function"));
  if (isClient && unknownOption === undefined) return client as TransactionClient;
  const field = unknownOption ?? "client";
  const value = unknownOption === undefined ? client : (others as Record<string, unknown>)[unknownOption];
  throw new EventStreamError(
    "ERR_INVALID_OPTION",
    `The option ${field} is ${show(value)}; give { client }, the pg client on which your transaction is open ` +
      "(await pool.connect()), or the tx of a PGlite's transaction.",
    { field },
  );
}

/**
 * Publishes an event, or (null) ends the channel, when the transaction commits.
 *
 * @returns why the channel refuses it, or `null`
 * @throws the transaction's own errors unchanged, so that the application can retry; `ERR_BROKER_UNAVAILABLE` if the
 *   schema is missing
 */
export async function enqueue(
  client: TransactionClient,
  schema: string,
  channel: string,
  payload: string | null,
): Promise<string | null> {
  const content = payload === null ? "NULL" : literal(payload);
  const text = `SELECT ${identifier(schema)}.enqueue(${literal(storedName(channel))}, ${content})`;
  try {
    const [rows = []] = await (isPGlite(client) ? pglite.ask(client, text) : pool.ask(client, text));
    return rows[0]?.[0] ?? null;
  } catch (error) {
    throw lacksSchema(error) ? explain(error, schema) : error;
  }
}

function isPGlite(client: TransactionClient): client is pglite.PGliteTransaction {
  return "rollback" in client;
}
