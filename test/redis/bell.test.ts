import { expect, it, onTestFinished, vi } from "vitest";
import { Bell } from "../../src/redis/bell.js";
import type { Redis } from "../../src/redis/client.js";

it("gives up the keys that have moved to another master, and no others", async () => {
  const subscribe = (_isSharded: boolean, [key]: readonly string[]) =>
    key === "moved" ? Promise.reject(new Error("MOVED 1 127.0.0.1:6379")) : Promise.resolve();
  const nothing = () => Promise.resolve(undefined);
  const connection = { subscribe, unsubscribe: nothing, send: nothing, destroy() {} };
  const redis: Redis = {
    isCluster: true,
    isClosed: () => false,
    database: () => Promise.resolve(0),
    send: nothing,
    masterOf: () => ({ address: "redis:6379", open: () => Promise.resolve(connection) }),
  };
  const events = { onMessage: vi.fn(), onHearing: vi.fn(), onMoved: vi.fn(), onDenied: vi.fn() };
  const bell = new Bell(redis, () => 0, true, 1000, events);
  onTestFinished(() => bell.close());
  const keys = ["one", "moved", "two"];
  for (const key of keys) bell.add(key);
  await vi.waitFor(() => expect(events.onHearing.mock.calls.flat(2)).toEqual(["one", "two"]), 20_000);
  expect(events.onMoved.mock.calls).toEqual([[["moved"]]]);
  expect(keys.filter((key) => bell.has(key))).toEqual(["one", "two"]);
});
