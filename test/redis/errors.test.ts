import { redisBroker } from "express-event-source/redis";
import type { RedisClient } from "../../src/redis/client.js";
import { channelTag } from "../../src/redis/channel-tag.js";
import { createClient, createClientPool, createCluster } from "redis";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { describeWithRedis, type RedisServer } from "./redis-server.js";

const foreign = { code: "ERR_FOREIGN_ENTRY" };
const unavailable = { code: "ERR_BROKER_UNAVAILABLE" };

type Client = ReturnType<typeof createClient>;

/** A client for the suite, and brokers that each have a prefix of their own. */
function connected(redis: RedisServer) {
  let client: Client;
  beforeAll(async () => {
    client = createClient({ url: redis.url }).on("error", () => {}) as Client;
    await client.connect();
  });
  afterAll(() => client.destroy());
  let brokers = 0;
  const open = (options?: { prefix?: string; client?: RedisClient; timeout?: number }) => {
    const prefix = `${brokers++}:`;
    const broker = redisBroker({ client, prefix, ...options });
    onTestFinished(() => broker.close());
    return { broker, prefix, client };
  };
  return open;
}

describeWithRedis("what the broker did not write", (redis) => {
  const open = connected(redis);

  it.each<[string, Record<string, string>]>([
    ["without its fields", { field: "value" }],
    ["with a field more", { after: "0-0", text: "a", extra: "b" }],
    ["with text that cannot be sent", { after: "0-0", event: "a\nb" }],
    ["with no event in it", { after: "0-0" }],
    ["with a predecessor that is none", { after: "x", text: "a" }],
  ])("fails the subscriptions of its channel, an entry %s, and no other", async (_name, entry) => {
    const { broker, prefix, client } = open();
    const [failing, other] = [await read(broker, "a"), await read(broker, "b")];
    const [failure, next] = [failing.next(), other.take(2)];
    failure.catch(() => {});
    await broker.publish("b", { data: 0 });
    await client.xAdd(`${prefix}a`, "*", entry);
    await expect(failure).rejects.toMatchObject(foreign);
    expect(await failing.next()).toEqual({ done: true, value: undefined });
    await broker.publish("b", { data: 1 });
    expect(dataOf(await next)).toEqual([0, 1]);
    await expect((await read(broker, "a", { from: "start" })).next()).rejects.toMatchObject(foreign);
  });

  it.each(["0*", "1*", "zzzzzzzzzz*", "0", "", "~"])(
    "takes a position that a client made up, %j, for a gap",
    async (position) => {
      const { broker, prefix } = open();
      await broker.publish("a", { data: 0 });
      const reader = await read(broker, ["a", "b"], { lastEventId: `${channelTag(`${prefix}a`)}${position}` });
      expect(dataOf(await reader.take(2))).toEqual(["gap", 0]);
    },
  );

  it("leaves the channel open to what comes after a foreign entry", async () => {
    const { broker, prefix, client } = open();
    await client.xAdd(`${prefix}a`, "*", { field: "value" });
    const reader = await read(broker, "a");
    await broker.publish("a", { data: 0 });
    expect(dataOf(await reader.take(1))).toEqual([0]);
  });

  it("refuses a key of another type, and the reader goes on for the others", async () => {
    const { broker, prefix, client } = open();
    const [failing, other] = [await read(broker, "a"), await read(broker, "b")];
    const [failure, next] = [failing.next(), other.take(2)];
    failure.catch(() => {});
    await broker.publish("b", { data: 0 });
    await client.set(`${prefix}a`, "a string");
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(foreign);
    await expect(broker.end("a")).rejects.toMatchObject(foreign);
    await expect(broker.subscribe("a")).rejects.toMatchObject(foreign);
    await broker.publish("b", { data: 1 });
    expect(dataOf(await next)).toEqual([0, 1]);
    await expect(failure).rejects.toMatchObject(foreign);
  });
});

describeWithRedis("Redis with less than before", (redis) => {
  const open = connected(redis);
  const dropReaders = (client: Client) => client.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);

  it("is a gap to who was there, where the stream has gone", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    const [, lastEventId] = await publishMany(broker, "a", 2);
    await reader.take(2);
    await dropReaders(client);
    await client.del(`${prefix}a`);
    await broker.publish("a", { data: "new" });
    const [gap, event] = await reader.take(2);
    expect(gap).toEqual({ event: "gap", data: { lastEventId } });
    expect(event?.data).toBe("new");
  });

  it("is a gap to who was there, where a replica that lagged has become the master", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    await publishMany(broker, "a", 2);
    await reader.take(2);
    // What a replica has that missed some events; its clock is late, too.
    const [before, late] = [`${Date.now() - 9000}-0`, `${Date.now() - 8000}-0`];
    await client.multi().del(`${prefix}a`).xAdd(`${prefix}a`, before, { after: "0-0", json: "0" }).exec();
    await dropReaders(client);
    expect(dataOf(await reader.take(1))).toEqual(["gap"]);
    await client.xAdd(`${prefix}a`, late, { after: before, text: "late" });
    await broker.publish("a", { data: "new" });
    expect(dataOf(await reader.take(2))).toEqual(["late", "new"]);
  });

  it("is a gap to who was there, where it has come back empty with its clock behind", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    // Written when its clock was a minute ahead of what it is now.
    const lastEventId = `${Date.now() + 60_000}-0`;
    await client.xAdd(`${prefix}a`, lastEventId, { after: "0-0", text: "old" });
    await reader.take(1);
    await redis.kill();
    await redis.start();
    // The reader is there before anything new is: no entry of the stream's can tell it.
    await vi.waitFor(async () => expect(await client.info("clients")).toContain("blocked_clients:1"), 10_000);
    await broker.publish("a", { data: "new" });
    expect(await reader.take(2)).toMatchObject([{ event: "gap", data: { lastEventId } }, { data: "new" }]);
  });

  it("is a gap and then everything that Redis holds, where it was written to before the reader came back", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    const [shared, lost] = [`${Date.now() + 50_000}-0`, `${Date.now() + 60_000}-0`];
    await client.xAdd(`${prefix}a`, shared, { after: "0-0", text: "shared" });
    await client.xAdd(`${prefix}a`, lost, { after: shared, text: "lost" });
    await reader.take(2);
    // In one step: as a replica that lagged and had become the master before anybody was connected to it.
    const [one, two] = [`${Date.now() + 51_000}-0`, `${Date.now() + 52_000}-0`];
    await client
      .multi()
      .xDel(`${prefix}a`, lost)
      .xSetId(`${prefix}a`, shared)
      .xAdd(`${prefix}a`, one, { after: shared, text: "new 1" })
      .xAdd(`${prefix}a`, two, { after: one, text: "new 2" })
      .exec();
    await dropReaders(client);
    expect(dataOf(await reader.take(3))).toEqual(["gap", "new 1", "new 2"]);
  });

  it("is no gap where the key of an idle channel has aged out", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    await publishMany(broker, "a", 2);
    await reader.take(2);
    await client.del(`${prefix}a`);
    await broker.publish("a", { data: "new" });
    expect(dataOf(await reader.take(1))).toEqual(["new"]);
  });
});

describeWithRedis("a user who may not interrupt", (redis) => {
  const open = connected(redis);

  it("hears new channels at once all the same", async () => {
    const { client } = open();
    await client.aclSetUser("limited", ["on", ">secret", "~*", "+@all", "-client|unblock"]);
    const limited = await createClient({ url: redis.url, username: "limited", password: "secret" })
      .on("error", () => {})
      .connect();
    onTestFinished(() => limited.destroy());
    const { broker } = open({ client: limited });
    const first = (await read(broker, "a")).take(1);
    await broker.publish("a", { data: 0 });
    await first;
    const second = (await read(broker, "b")).take(1);
    await broker.publish("b", { data: 1 });
    expect(dataOf(await second)).toEqual([1]);
  });

  it("or not read is told so", async () => {
    const { client } = open();
    await client.aclSetUser("blind", ["on", ">secret", "~*", "+@all", "-xread"]);
    const blind = await createClient({ url: redis.url, username: "blind", password: "secret" })
      .on("error", () => {})
      .connect();
    onTestFinished(() => blind.destroy());
    const { broker } = open({ client: blind });
    await expect((await read(broker, "a")).next()).rejects.toMatchObject(unavailable);
  });
});

describeWithRedis(
  "in a Redis Cluster",
  (redis) => {
    const open = connected(redis);
    beforeAll(async () => {
      const client = await createClient({ url: redis.url })
        .on("error", () => {})
        .connect();
      await client.sendCommand(["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
      await vi.waitFor(
        async () => expect(await client.sendCommand(["CLUSTER", "INFO"])).toContain("cluster_state:ok"),
        10_000,
      );
      client.destroy();
    });

    it("all channels are in one slot with a hash tag as prefix", async () => {
      const { broker } = open({ prefix: "{events}:" });
      const reader = await read(broker, ["a", "b"]);
      await broker.publish("a", { data: 0 });
      await broker.publish("b", { data: 1 });
      expect(dataOf(await reader.take(2)).sort()).toEqual([0, 1]);
    });

    it("subscriptions say so without one", async () => {
      const { broker } = open();
      await expect((await read(broker, ["a", "b"])).next()).rejects.toMatchObject({
        ...unavailable,
        message: expect.stringContaining("{events}:") as string,
      });
    });
  },
  ["--cluster-enabled", "yes"],
);

describeWithRedis("Redis out of reach", (redis) => {
  const open = connected(redis);

  it("rejects what is asked of it in bounded time, and sends nothing of it later", async () => {
    const { broker } = open({ timeout: 50 });
    await broker.publish("a", { data: 0 });
    await redis.kill();
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(unavailable);
    await expect(broker.publish("a", { data: 2 })).rejects.toMatchObject(unavailable);
    await expect(broker.end("a")).rejects.toMatchObject(unavailable);
    await expect(broker.subscribe("a")).rejects.toMatchObject(unavailable);
    await redis.start();
    await expect.poll(() => broker.publish("a", { data: 3 }).catch(() => undefined)).toBeDefined();
    expect(dataOf(await (await read(broker, "a", { from: "start" })).take(1))).toEqual([3]);
  });
});

describe("redisBroker", () => {
  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a URL", "redis://127.0.0.1"],
    ["an object like ioredis", { status: "ready", sendCommand() {}, duplicate() {}, options: {} }],
    ["a pool", createClientPool({})],
    ["a cluster", createCluster({ rootNodes: [{ url: "redis://127.0.0.1:1" }] })],
    ["a client that is not connected", createClient()],
  ])("refuses %s as client, and says what to do", (_name, client) => {
    expect(() => redisBroker({ client: client as RedisClient })).toThrow(
      expect.objectContaining({
        code: "ERR_INVALID_OPTION",
        field: "client",
        message: expect.stringMatching(/connect\(\)/) as string,
      }),
    );
  });

  it.each<[string, object]>([
    ["prefix", { prefix: 5 }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: 2 ** 31 }],
    ["history.maxAge", { history: { maxAge: -1 } }],
    ["histroy", { histroy: {} }],
  ])("refuses a wrong %s", (field, options) => {
    const client = Object.assign(createClient(), {}) as RedisClient;
    expect(() =>
      redisBroker({ client: Object.create(client, { isOpen: { value: true } }) as RedisClient, ...options }),
    ).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION", field }));
  });
});
