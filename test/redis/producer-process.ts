import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";

// A process that produces an answer, word by word: the tests kill it, or have it stand still.

const client = createClient({ url: process.env["REDIS_URL"] as string });
client.on("error", () => {});
await client.connect();
const broker = redisBroker({ client, prefix: "process:", timeout: 300 });
const run = await broker.produce(
  process.env["CHANNEL"] as string,
  async function* () {
    for (let data = 0; ; data++) {
      yield { data };
      await sleep(20);
    }
  },
  { lease: 1000 },
);
console.log("producing");
console.log(await run?.done);
client.destroy();
await broker.close();
