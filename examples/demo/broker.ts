import { memoryBroker } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";

/** What the panels use: `produce` and `stop`, too. */
export type DemoBroker = ReturnType<typeof memoryBroker>;

const history = { maxEvents: 1_000 };

/**
 * The one place that picks a broker. With `REDIS_URL` any number of demos share what is said and drawn, and a restart
 * loses nothing; without, it is this process's memory, which a restart empties.
 */
export async function openBroker(
  url = process.env.REDIS_URL,
): Promise<{ broker: DemoBroker; close: () => Promise<void> }> {
  if (url === undefined) {
    const broker = memoryBroker({ history });
    return { broker, close: () => broker.close() };
  }
  const client = createClient({ url });
  client.on("error", (error) => console.error(`Redis: ${String(error)}`));
  await client.connect();
  const broker = redisBroker({ client, history });
  return { broker, close: () => broker.close().finally(() => client.destroy()) };
}
