import { Cluster, Redis } from "ioredis";
import { redisBroker, type RedisBrokerOptions } from "express-event-source/redis";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import * as redis5 from "redis5";
import { describe, expect, it, onTestFinished } from "vitest";

const url = "redis://127.0.0.1:1";
const rootNodes = [{ url }];
const sentinelRootNodes = [{ host: "127.0.0.1", port: 1 }];

function refuses(client: unknown, message: RegExp): void {
  expect(() => redisBroker({ client: client as RedisBrokerOptions["client"] })).toThrow(
    expect.objectContaining({
      code: "ERR_INVALID_OPTION",
      field: "client",
      message: expect.stringMatching(message) as string,
    }),
  );
}

describe("redisBroker", () => {
  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a URL", url],
    ["an object that looks a little like a client", { sendCommand() {}, duplicate() {}, options: {} }],
    ["a client that is not connected", createClient()],
    ["a pool that is not connected", createClientPool({})],
    ["a cluster that is not connected", createCluster({ rootNodes })],
    ["a sentinel that is not connected", createSentinel({ name: "m", sentinelRootNodes })],
  ])("refuses %s as client, and says what to do", (_name, client) => refuses(client, /connect\(\)/));

  it.each<[string, unknown]>([
    ["client", redis5.createClient()],
    ["pool", redis5.createClientPool()],
    ["cluster", redis5.createCluster({ rootNodes })],
    ["sentinel", redis5.createSentinel({ name: "m", sentinelRootNodes })],
  ])("refuses a %s of node-redis 5, by name and with the reason", (_name, client) =>
    refuses(client, /node-redis 6 or later.*reply to another/),
  );

  it.each<[string, () => { disconnect(): void }]>([
    ["Redis", () => new Redis({ lazyConnect: true, keyPrefix: "app:" })],
    ["Cluster", () => new Cluster([{ port: 1 }], { lazyConnect: true, keyPrefix: "app:" })],
  ])("refuses a %s of ioredis with a keyPrefix, and says what to do", (_name, create) => {
    const client = create();
    onTestFinished(() => client.disconnect());
    refuses(client, /without a keyPrefix \(it is "app:"\).*prefix/);
  });

  it.each<[string, object]>([
    ["prefix", { prefix: 5 }],
    ["prefix", { prefix: "\ud800" }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: 2 ** 31 }],
    ["sharded", { sharded: "yes" }],
    ["history.maxAge", { history: { maxAge: -1 } }],
    ["histroy", { histroy: {} }],
  ])("refuses a wrong %s", (field, options) => {
    const client = new Redis({ lazyConnect: true });
    onTestFinished(() => client.disconnect());
    expect(() => redisBroker({ client, ...options })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_OPTION", field }),
    );
  });
});
