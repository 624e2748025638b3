import { lacksSchema, needsToMigrate } from "./database.js";
import { postgresSchema, schemaVersion } from "./schema.js";
import type { Store } from "./store.js";

/** The shortest timeout, in milliseconds. Processes migrate one after another, and a PGlite may have to start first. */
const longWait = 60_000;

/** @throws {EventStreamError} `ERR_BROKER_UNAVAILABLE` */
export async function migrate(store: Store): Promise<void> {
  const { schema } = store;
  const timeout = Math.max(store.timeout, longWait);
  if (await isCurrent(store, timeout)) return;
  await store.run([postgresSchema({ schema })], timeout, needsToMigrate(schema));
}

async function isCurrent(store: Store, timeout: number): Promise<boolean> {
  try {
    const [rows = []] = await store.run([`SELECT ${store.s}.version()`], timeout);
    return rows[0]?.[0] === schemaVersion(store.schema);
  } catch (error) {
    if (lacksSchema((error as Error).cause)) return false;
    throw error;
  }
}
