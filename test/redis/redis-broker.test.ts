import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { afterAll, beforeAll } from "vitest";
import { brokerContract } from "../broker/contract.js";
import { clients, type TestClient } from "./clients.js";
import { describeWithRedis } from "./redis-server.js";

// The others take part in npm run test:topologies.
for (const name of ["node-redis", "ioredis 6"]) {
  describeWithRedis(name, (redis) => {
    let client: TestClient;
    let brokers = 0;
    beforeAll(async () => {
      client = await (clients[name] as (url: string) => Promise<TestClient>)(redis.url);
    });
    afterAll(() => client.close());

    brokerContract(`redisBroker on ${name}`, {
      open: (history) => redisBroker({ client: client.client, prefix: `${brokers++}:`, history }),
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      runs: 15,
    });
  });
}
