import { redisBroker } from "express-event-source/redis";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { read } from "../../broker/contract.js";
import { dataOf } from "../../broker/reader.js";
import { describeWith } from "../../support/installed.js";
import type { RedisServer } from "../redis-server.js";
import { ask, clusterClients, RedisCluster } from "./cluster.js";

const unhandled = vi.fn();
process.on("unhandledRejection", unhandled);
afterEach(() => expect(unhandled).not.toHaveBeenCalled());

let prefixes = 0;

describeWith(["redis-server", "redis-cli"], "a slot that moves to another master of a Redis Cluster", () => {
  const cluster = new RedisCluster();
  beforeAll(() => cluster.start());
  afterAll(() => cluster.remove());

  async function masters(): Promise<Map<string, RedisServer>> {
    const lines = String(await ask(cluster.nodes[0] as RedisServer, ["CLUSTER", "NODES"])).split("\n");
    const found = new Map<string, RedisServer>();
    for (const line of lines.filter((each) => each.includes("master"))) {
      const [id, address] = line.split(" ") as [string, string];
      found.set(id, cluster.nodes.find(({ port }) => address.startsWith(`127.0.0.1:${port}@`)) as RedisServer);
    }
    return found;
  }

  /** Moves the slot of a key in the steps that redis-cli takes, and calls back between them: then the key has moved, its slot has not. */
  async function move(key: string, between: () => Promise<void>): Promise<void> {
    const nodes = [...(await masters())];
    const source = await cluster.masterOf(key);
    const [sourceId] = nodes.find(([, node]) => node === source) as [string, RedisServer];
    const [targetId, target] = nodes.find(([, node]) => node !== source) as [string, RedisServer];
    const slot = String(await ask(source, ["CLUSTER", "KEYSLOT", key]));
    await ask(target, ["CLUSTER", "SETSLOT", slot, "IMPORTING", sourceId]);
    await ask(source, ["CLUSTER", "SETSLOT", slot, "MIGRATING", targetId]);
    await ask(source, ["MIGRATE", "127.0.0.1", String(target.port), key, "0", "5000"]);
    await between();
    for (const node of [target, source]) await ask(node, ["CLUSTER", "SETSLOT", slot, "NODE", targetId]);
  }

  // ioredis 5 settles no `ssubscribe` of a slot that has moved: there, the timeout rejects the first subscription.
  it.each(Object.entries(clusterClients).filter(([name]) => !name.startsWith("ioredis 5")))(
    "keeps no process from its first subscription, with %s",
    { timeout: 60_000 },
    async (_name, create) => {
      const { client, close } = await create(cluster);
      onTestFinished(() => void close());
      const prefix = `${prefixes++}:`;
      const broker = redisBroker({ client, prefix, sharded: true });
      onTestFinished(() => broker.close());
      // The client has looked where the slots are.
      await broker.publish("another", { data: 0 });
      await move(`${prefix}moved`, async () => {});
      const reader = await read(broker, "moved");
      const next = reader.take(1);
      await broker.publish("moved", { data: 1 });
      expect(dataOf(await next)).toEqual([1]);
    },
  );

  describe.each([false, true])("sharded: %s", (sharded) => {
    it.each(Object.entries(clusterClients))("loses nothing, with %s", { timeout: 60_000 }, async (_name, create) => {
      const { client, close } = await create(cluster);
      onTestFinished(() => void close());
      const prefix = `${prefixes++}:`;
      // The audit is what notices that a slot has moved: a full round takes half of maxAge.
      const broker = redisBroker({ client, prefix, sharded, history: { maxAge: 6000 } });
      onTestFinished(() => broker.close());
      const reader = await read(broker, "moving");
      const publish = async (from: number) => {
        for (let n = from; n < from + 5; n++) await broker.publish("moving", { data: n });
      };
      const all = reader.take(20);
      await publish(0);
      await move(`${prefix}moving`, () => publish(5));
      await publish(10);
      const late = await read(broker, "moving", { from: "start" });
      await late.expectNext(...Array.from({ length: 15 }, (_, n) => n));
      await publish(15);
      expect(dataOf(await all)).toEqual(Array.from({ length: 20 }, (_, n) => n));
    });
  });
});
