import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { createClient as createClient6 } from "redis";
import { createClient as createClient5 } from "redis5";
import { afterAll, beforeAll } from "vitest";
import type { RedisClient } from "../../src/redis/client.js";
import { brokerContract } from "../broker/contract.js";
import { describeWithRedis } from "./redis-server.js";

const versions: Record<string, (url: string) => RedisClient & { connect(): Promise<unknown>; destroy(): void }> = {
  "redis 6": (url) => createClient6({ url }),
  "redis 6 with RESP 2": (url) => createClient6({ url, RESP: 2 }),
  "redis 5": (url) => createClient5({ url }),
};

for (const [name, create] of Object.entries(versions)) {
  describeWithRedis(name, (redis) => {
    let client: ReturnType<typeof create>;
    let brokers = 0;
    beforeAll(async () => {
      client = create(redis.url);
      await client.connect();
    });
    afterAll(() => client.destroy());

    brokerContract(`redisBroker on ${name}`, {
      open: (history) => redisBroker({ client, prefix: `${brokers++}:`, history }),
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      runs: 15,
    });
  });
}
