import { PGlite } from "@electric-sql/pglite";
import { type PostgresBroker, postgresBroker } from "express-event-source/postgres";
import { history } from "./history.js";

/** The demo's Postgres, and a broker on it. */
export interface Postgres {
  readonly database: PGlite;
  readonly broker: PostgresBroker;
}

let started: Promise<PGlite> | undefined;

/**
 * Postgres, embedded in this process and kept in memory. There is one for the process, because it takes a second or two to
 * start. A restart of the demo's server leaves it alone, as it would leave any database.
 */
export function openDatabase(): Promise<PGlite> {
  return (started ??= start());
}

async function start(): Promise<PGlite> {
  const database = await PGlite.create();
  await database.exec("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item text NOT NULL)");
  const broker = postgresBroker({ pool: database });
  await broker.migrate();
  await broker.close();
  return database;
}

/** A broker for one run of the server, which closes it. */
export async function openPostgres(): Promise<Postgres> {
  const database = await openDatabase();
  return { database, broker: postgresBroker({ pool: database, history }) };
}
