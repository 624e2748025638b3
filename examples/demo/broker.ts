import { type Broker, memoryBroker } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";
import { history } from "./history.js";

/**
 * The broker of prices, chat and ticks. With `REDIS_URL` any number of demos share these, and a restart loses nothing;
 * without, they are in this process's memory, which a restart empties.
 */
export async function openBroker(url = process.env.REDIS_URL): Promise<{ broker: Broker; close: () => Promise<void> }> {
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
