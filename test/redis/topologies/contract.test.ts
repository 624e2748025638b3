import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { brokerContract } from "../../broker/contract.js";
import { describeWith } from "../../support/installed.js";
import { clients, type TestClient } from "../clients.js";
import { describeWithRedis } from "../redis-server.js";
import { sentMeanwhile, size } from "../sent-meanwhile.js";
import { clusterClients, RedisCluster } from "./cluster.js";
import { sentinelClients, SentinelGroup } from "./sentinel.js";

let brokers = 0;

function contract(name: string, create: () => Promise<TestClient>, sharded: boolean): void {
  describe(name, () => {
    let client: TestClient;
    beforeAll(async () => {
      client = await create();
    });
    afterAll(() => client.close());
    brokerContract(name, {
      open: (history) => redisBroker({ client: client.client, prefix: `${brokers++}:`, history, sharded }),
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      runs: 15,
    });

    it("lets those whose events wait for one another go on when the next event has been sent", async () => {
      expect(await sentMeanwhile(create)).toBeGreaterThan(size);
    });
  });
}

describeWithRedis("one server", (redis) => {
  for (const [name, create] of Object.entries(clients)) contract(name, () => create(redis.url), false);
  contract("node-redis, sharded", () => (clients["node-redis"] as (typeof clients)[string])(redis.url), true);
});

describeWith(["redis-server", "redis-cli"], "a Redis Cluster", () => {
  const cluster = new RedisCluster();
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());
  for (const [name, create] of Object.entries(clusterClients)) {
    contract(name, () => create(cluster), false);
    contract(`${name}, sharded`, () => create(cluster), true);
  }
});

describeWith(["redis-server", "redis-sentinel"], "Sentinel", () => {
  const group = new SentinelGroup();
  beforeAll(() => group.start());
  afterAll(() => group.remove());
  for (const [name, create] of Object.entries(sentinelClients)) contract(name, () => create(group), false);
});
