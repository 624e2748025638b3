import { Deadline } from "./deadline.js";
import { lacksSchema, needsToMigrate } from "./database.js";
import { postgresSchema, schemaVersion } from "./schema.js";
import type { Store } from "./store.js";

/** The shortest timeout, in milliseconds. Processes migrate one after another, and a PGlite may have to start first. */
const longWait = 60_000;

/** @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE` */
export async function migrate(store: Store): Promise<void> {
  const { schema } = store;
  const deadline = new Deadline(Math.max(store.timeout, longWait));
  if (await isCurrent(store, deadline)) return;
  await store.run([postgresSchema({ schema })], deadline, needsToMigrate(schema));
}

async function isCurrent(store: Store, deadline: Deadline): Promise<boolean> {
  try {
    const [rows = []] = await store.run([`SELECT ${store.s}.version()`], deadline);
    return rows[0]?.[0] === schemaVersion(store.schema);
  } catch (error) {
    if (lacksSchema((error as Error).cause)) return false;
    throw error;
  }
}
