import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { afterAll, beforeAll } from "vitest";
import { brokerContract } from "../broker/contract.js";
import { clients, type TestClient } from "./clients.js";
import { describeWithRedis } from "./redis-server.js";

for (const [name, create] of Object.entries(clients)) {
  describeWithRedis(name, (redis) => {
    let client: TestClient;
    let brokers = 0;
    beforeAll(async () => {
      client = await create(redis.url);
    });
    afterAll(() => client.close());

    brokerContract(`redisBroker on ${name}`, {
      open: (history) => redisBroker({ client: client.client, prefix: `${brokers++}:`, history }),
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      runs: 15,
    });
  });
}
