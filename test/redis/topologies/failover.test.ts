import { setTimeout as sleep } from "node:timers/promises";
import { redisBroker } from "express-event-source/redis";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { read } from "../../broker/contract.js";
import { dataOf, type Reader } from "../../broker/reader.js";
import { describeWith } from "../../support/installed.js";
import type { TestClient } from "../clients.js";
import type { RedisServer } from "../redis-server.js";
import { ask, clusterClients, RedisCluster, until } from "./cluster.js";
import { sentinelClients, SentinelGroup } from "./sentinel.js";

const unhandled = vi.fn();
process.on("unhandledRejection", unhandled);
afterEach(() => {
  // Each test answers for its own.
  expect(unhandled.mock.calls.splice(0)).toEqual([]);
});

const channels = Array.from({ length: 6 }, (_, n) => `channel ${n}`);

/** Reads until the last word, and says what it saw. */
async function readToEnd(reader: Reader): Promise<unknown[]> {
  const seen: unknown[] = [];
  while (seen.at(-1) !== "end") seen.push(...dataOf(await reader.take(1)));
  return seen.slice(0, -1);
}

/**
 * Publishes and reads under load while the master is killed. Nothing comes twice or out of order; what was acknowledged is
 * there, or a gap.
 */
async function survive(create: () => Promise<TestClient>, kill: () => Promise<void>, sharded = false): Promise<void> {
  const [publishing, reading] = [await create(), await create()];
  const options = { prefix: "failover:", history: { maxEvents: 100_000 }, timeout: 1000, sharded };
  const [publisher, broker] = [
    redisBroker({ client: publishing.client, ...options }),
    redisBroker({ client: reading.client, ...options }),
  ];
  onTestFinished(async () => {
    await Promise.all([publisher.close(), broker.close()]);
    publishing.close();
    reading.close();
  });
  let phase: "before" | "after" | "done" = "before";
  const work = channels.map(async (channel) => {
    const reader = await read(broker, channel);
    const stored: number[] = [];
    const maybe = new Set<number>();
    const seen = readToEnd(reader);
    for (let n = 0; phase !== "done"; n++) {
      await publisher.publish(channel, { data: n }).then(
        () => void stored.push(n),
        (error: unknown) => {
          expect(error).toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
          maybe.add(n);
        },
      );
      await sleep(2);
    }
    await until(() => publisher.publish(channel, { data: "end" }).then(() => true));
    return { stored, maybe, seen: await seen };
  });
  await sleep(1000);
  await kill();
  phase = "after";
  // Until each channel can be published to again.
  await Promise.all(
    channels.map((channel) => until(() => publisher.publish(`${channel} `, { data: 0 }).then(() => true))),
  );
  await sleep(1000);
  phase = "done";
  for (const { stored, maybe, seen } of await Promise.all(work)) {
    const events = seen.filter((each) => each !== "gap") as number[];
    expect(events, "in order, and nothing twice").toEqual([...new Set(events)].sort((a, b) => a - b));
    const missing = stored.filter((n) => !events.includes(n));
    if (missing.length > 0) expect(seen, `without a gap: ${missing.join()}`).toContain("gap");
    expect(events.filter((n) => !maybe.has(n) && !stored.includes(n))).toEqual([]);
  }
}

describeWith(["redis-server", "redis-cli"], "a Redis Cluster whose master is killed under load", () => {
  let cluster: RedisCluster;
  beforeEach(async () => {
    cluster = new RedisCluster();
    await cluster.start();
  });
  afterEach(() => cluster.remove());
  describe.each([false, true])("sharded: %s", (sharded) => {
    it.each(Object.entries(clusterClients))("goes on, with %s", { timeout: 90_000 }, async (_name, create) => {
      const created: TestClient[] = [];
      const kill = async () => {
        const master = await cluster.masterOf(`failover:${channels[0]}`);
        await master.kill();
        // The clients of ioredis ask who the masters are while the dead one is still among them.
        for (const { client } of created) if ("refreshSlotsCache" in client) client.refreshSlotsCache();
      };
      const open = async () => {
        const client = await create(cluster);
        created.push(client);
        return client;
      };
      await survive(open, kill, sharded);
    });
  });
});

describeWith(["redis-server", "redis-sentinel"], "Sentinel whose master", () => {
  let group: SentinelGroup;
  beforeEach(async () => {
    group = new SentinelGroup();
    await group.start();
  });
  afterEach(() => group.remove());
  const master = async (): Promise<RedisServer> => {
    const url = `redis://127.0.0.1:${group.sentinels[0]}`;
    const reply = await ask({ url }, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", group.name]);
    const [, port] = reply as [string, string];
    return [group.master, ...group.replicas].find((server) => server.port === Number(port)) as RedisServer;
  };
  const entries = Object.entries(sentinelClients);
  it.each(entries)("is killed under load goes on, with %s", { timeout: 90_000 }, (_name, create) =>
    survive(
      () => create(group),
      async () => (await master()).kill(),
    ),
  );
  it.each(entries)("is told to hand over goes on, with %s", { timeout: 90_000 }, (_name, create) =>
    survive(
      () => create(group),
      async () =>
        void (await ask({ url: `redis://127.0.0.1:${group.sentinels[0]}` }, ["SENTINEL", "FAILOVER", group.name])),
    ),
  );
});
