import { expect, it } from "vitest";
import { channelTag } from "../../src/redis/channel-tag.js";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { connected, ring } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";

const foreign = { code: "ERR_FOREIGN_ENTRY" };

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
    await ring(client, `${prefix}a`);
    await expect(failure).rejects.toMatchObject(foreign);
    expect(await failing.next()).toEqual({ done: true, value: undefined });
    await broker.publish("b", { data: 1 });
    expect(dataOf(await next)).toEqual([0, 1]);
    await expect((await read(broker, "a", { from: "start" })).next()).rejects.toMatchObject(foreign);
  });

  it.each([
    ["entries", (key: string) => ["XADD", key, "*", "field", "value"]],
    ["a consumer group and no entry yet", (key: string) => ["XGROUP", "CREATE", key, "group", "$", "MKSTREAM"]],
  ])("is not written to, trimmed or expired: a stream with %s", async (_name, command) => {
    const { broker, prefix, client } = open({ history: { maxEvents: 1, maxAge: 50 } });
    const key = `${prefix}a`;
    await client.sendCommand(command(key));
    const before = await client.xInfoStream(key);
    await expect(broker.publish("a", { data: 0 })).rejects.toMatchObject(foreign);
    await expect(broker.end("a")).rejects.toMatchObject(foreign);
    const reader = await read(broker, "a");
    const waiting = reader.next();
    await ring(client, key);
    await reader.return();
    await waiting;
    expect(await client.xInfoStream(key)).toEqual(before);
    expect(await client.pTTL(key)).toBe(-1);
  });

  it("leaves a channel alone whose stream somebody else has written to, and fails who reads it", async () => {
    const { broker, prefix, client } = open();
    await broker.publish("a", { data: 0 });
    const reader = await read(broker, "a", { from: "start" });
    await reader.expectNext(0);
    await client.xAdd(`${prefix}a`, "*", { after: "0-0", text: "a forged beginning" });
    await ring(client, `${prefix}a`);
    await expect(reader.next()).rejects.toMatchObject(foreign);
  });

  it.each(["*0", "*1", "*zzzzzzzzzz", "0", "", "~", "1.zzzzzzz", "zzzzzzzzz"])(
    "takes a position that a client made up, %j, for a gap",
    async (position) => {
      const { broker, prefix } = open();
      await broker.publish("a", { data: 0 });
      const reader = await read(broker, ["a", "b"], { lastEventId: `${channelTag(`${prefix}a`).name}${position}` });
      await reader.expectNext("gap", 0);
    },
  );

  it("refuses a key of another type, and goes on for the others", async () => {
    const { broker, prefix, client } = open();
    const [failing, other] = [await read(broker, "a"), await read(broker, "b")];
    const [failure, next] = [failing.next(), other.take(2)];
    failure.catch(() => {});
    await broker.publish("b", { data: 0 });
    await client.set(`${prefix}a`, "a string");
    await ring(client, `${prefix}a`);
    await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(foreign);
    await expect(broker.end("a")).rejects.toMatchObject(foreign);
    await expect(broker.subscribe("a")).rejects.toMatchObject(foreign);
    await broker.publish("b", { data: 1 });
    expect(dataOf(await next)).toEqual([0, 1]);
    await expect(failure).rejects.toMatchObject(foreign);
  });

  it("is heard and changes nothing where it is a message only, forged, stale or of another database", async () => {
    const { broker, prefix, client } = open();
    const reader = await read(broker, "a");
    const [first] = await publishMany(broker, "a", 1);
    await reader.expectNext(0);
    const next = reader.take(2);
    const fields = JSON.stringify(["text", "forged"]);
    for (const message of [
      "",
      "0 ",
      `0 ${first} 0-0 ${fields}`,
      `0 1-1 0-0 ${fields}`,
      `1 9${String(first)} ${first} ${fields}`,
      `0 9${String(first)} ${first} no json`,
      `0 9${String(first)} 8${String(first)} ${fields}`,
    ])
      await client.publish(`${prefix}a`, message);
    await broker.publish("a", { data: 1 });
    await broker.publish("a", { data: 2 });
    expect(dataOf(await next)).toEqual([1, 2]);
  });
});
