import { type Broker, memoryBroker } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";

/** Enough for the longest answer, so that a client that comes late still gets its beginning. */
const history = { maxEvents: 20_000 };

/** How many milliseconds after its process has died an answer counts as lost. Its readers are told, and can ask again. */
export const lease = Number(process.env.LEASE ?? 15_000);

/** With `REDIS_URL` an answer can be read and stopped in any process; without, it survives a reload of the page. */
export async function openBroker(url = process.env.REDIS_URL): Promise<Broker> {
  if (url === undefined) return memoryBroker({ history });
  const client = createClient({ url });
  client.on("error", (error) => console.error("Redis: %s", String(error)));
  return redisBroker({ client: await client.connect(), history });
}
