import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { clients } from "./clients.js";
import { type Client, connect, connected } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";

/** What the guide says that a user needs, and no more: for the streams, and for the messages, sharded or not. */
const streams = [
  "-@all",
  "+evalsha",
  "+eval",
  "+ping",
  "+xadd",
  "+xrange",
  "+xrevrange",
  "+xtrim",
  "+pexpire",
  "+pttl",
  "+exists",
  "+time",
  "+xinfo",
  "+xgroup",
];
const messages = {
  plain: ["+publish", "+subscribe", "+unsubscribe"],
  sharded: ["+spublish", "+ssubscribe", "+sunsubscribe"],
};

describeWithRedis("a Redis user with few permissions", (redis) => {
  const open = connected(redis);
  let admin: Client;
  beforeAll(async () => {
    admin = await connect(redis.url);
  });
  afterAll(() => admin.destroy());
  async function user(...rules: string[]) {
    await admin.aclSetUser("limited", ["reset", "on", ">secret", ...rules]);
    return redis.url.replace("//", "//limited:secret@");
  }

  const names = Object.keys(clients).filter((name) => !name.includes("RESP"));
  it.each(names.flatMap((name) => (["plain", "sharded"] as const).map((kind) => [name, kind] as const)))(
    "needs no more than the least, with %s and %s messages",
    async (name, kind) => {
      const url = await user("~chat:*", "&chat:*", ...streams, ...messages[kind], "+hello", "+info");
      const { client, close } = await (clients[name] as NonNullable<(typeof clients)[string]>)(url);
      onTestFinished(() => void close());
      const { broker } = open({ client, prefix: "chat:", sharded: kind === "sharded" });
      const channel = `${kind} of ${name}`;
      const reader = await read(broker, channel);
      await publishMany(broker, channel, 3);
      await broker.publish(channel, { data: "x".repeat(20_000) });
      expect(dataOf(await reader.take(4)).slice(0, 3)).toEqual([0, 1, 2]);
      const again = await read(broker, channel, { from: "start" });
      await broker.end(channel);
      expect(await again.rest()).toHaveLength(4);
      const run = await broker.produce(`answer on ${channel}`, () => [{ data: 0 }]);
      expect(await run?.done).toBe("completed");
      expect(await broker.stop(`answer on ${channel}`)).toBe(false);
    },
  );

  it("is told at once from publish that it may not publish messages, and nothing is stored", async () => {
    const client = await connect(await user("~*", "resetchannels", "+@all"));
    onTestFinished(() => client.destroy());
    const { broker, prefix } = open({ client, prefix: "no-channels:" });
    await expect(broker.publish("a", { data: 0 })).rejects.toMatchObject({
      code: "ERR_BROKER_UNAVAILABLE",
      message: expect.stringMatching(/PUBLISH.*\+publish &no-channels:\*/) as string,
    });
    expect(prefix).toBeDefined();
    expect(await admin.exists("no-channels:a")).toBe(0);
  });

  it.each([
    ["the command", ["~*", "&*", "+@all", "-subscribe"]],
    ["the channels", ["~*", "resetchannels", "+@all"]],
  ])("is told at once from subscribe that it may not hear messages, where it lacks %s", async (_what, rules) => {
    const client = await connect(await user(...rules));
    onTestFinished(() => client.destroy());
    const { broker } = open({ client, prefix: "deaf:" });
    await expect(broker.subscribe("a")).rejects.toMatchObject({
      code: "ERR_BROKER_UNAVAILABLE",
      message: expect.stringMatching(/SUBSCRIBE.*\+subscribe &deaf:\*/) as string,
    });
  });

  it.each([
    ["produce", "pexpire"],
    ["produce", "xtrim"],
    ["produce", "xgroup"],
    ["publish", "pexpire"],
    ["publish", "xtrim"],
  ] as const)("is told at once from %s that it lacks %s, and nothing is stored", async (method, command) => {
    const client = await connect(await user("~*", "&*", "+@all", `-${command}`));
    onTestFinished(() => client.destroy());
    const { broker, prefix } = open({ client });
    const trying =
      method === "publish" ? broker.publish("a", { data: 0 }) : broker.produce("a", () => [], { lease: 600_000 });
    await expect(trying).rejects.toMatchObject({
      code: "ERR_BROKER_UNAVAILABLE",
      message: expect.stringContaining("lacks a permission that the broker needs") as string,
    });
    expect(await admin.exists(`${prefix}a`)).toBe(0);
  });

  it.each([
    ["messages", ["~*", "resetchannels", "&some:mine*", "+@all"]],
    ["streams", ["~some:mine*", "&*", "+@all"]],
  ])("may subscribe to its own channels while it is denied the %s of others", async (_what, rules) => {
    const client = await connect(await user(...rules));
    onTestFinished(() => client.destroy());
    const { broker } = open({ client, prefix: "some:" });
    const names = ["theirs 1", "mine 1", "theirs 2", "mine 2"];
    const subscribing = await Promise.allSettled(names.map((name) => broker.subscribe(name)));
    expect(subscribing.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected", "fulfilled"]);
  });

  it("hears its own channels while it is denied the messages of others", async () => {
    const client = await connect(await user("~*", "resetchannels", "&some:mine*", "+@all"));
    onTestFinished(() => client.destroy());
    const { broker } = open({ client, prefix: "some:" });
    await broker.subscribe("mine 1");
    const [theirs, mine] = [await read(broker, "theirs 2"), await read(broker, "mine 2")];
    const [denied, next] = [theirs.next(), mine.take(1)];
    await expect(denied).rejects.toMatchObject({ message: expect.stringContaining("SUBSCRIBE") as string });
    await open({ prefix: "some:" }).broker.publish("mine 2", { data: "heard" });
    expect(dataOf(await next)).toEqual(["heard"]);
  });

  it("keeps the subscriptions of its own channels when it loses the streams of others", async () => {
    const client = await connect(await user("~*", "&*", "+@all"));
    onTestFinished(() => client.destroy());
    const { broker } = open({ client, prefix: "fewer:" });
    const [theirs, mine] = [await read(broker, "theirs"), await read(broker, "mine")];
    const first = Promise.all([theirs.take(1), mine.take(1)]);
    await broker.publish("theirs", { data: 1 });
    await broker.publish("mine", { data: 1 });
    await first;
    const losing = expect(theirs.next()).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
    const second = mine.take(1);
    await admin.aclSetUser("limited", ["resetkeys", "~fewer:mine*"]);
    // Once it has connected again, it checks all its channels in one question.
    await admin.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
    await losing;
    await broker.publish("mine", { data: 2 });
    expect(dataOf(await second)).toEqual([2]);
  });

  it("is told what it lacks where it may not run scripts", async () => {
    const client = await connect(await user("~*", "&*", "+@all", "-evalsha"));
    onTestFinished(() => client.destroy());
    const { broker } = open({ client });
    await expect(broker.publish("a", { data: 0 })).rejects.toMatchObject({
      code: "ERR_BROKER_UNAVAILABLE",
      message: expect.stringContaining("evalsha") as string,
    });
  });
});
