import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ConnectionEvents, Redis } from "../../src/redis/client.js";
import { Reads } from "../../src/redis/reads.js";
import type { Script } from "../../src/redis/script.js";

const timeout = 100;
const question = { script: { sha: "sha", text: "" } as Script, keys: ["key"], args: [] };

/** Connections that never reply, to a Redis that is there. */
class SilentRedis implements Redis {
  readonly isCluster = false;
  readonly opened: ConnectionEvents[] = [];

  isClosed = () => false;
  database = () => Promise.resolve(0);
  send = () => new Promise(() => {});
  masterOf = () => ({
    address: "redis:6379",
    open: (events: ConnectionEvents) => {
      this.opened.push(events);
      const silence = () => new Promise<never>(() => {});
      return Promise.resolve({ send: silence, subscribe: silence, unsubscribe: silence, destroy() {} });
    },
  });
}

/** Asks `count` times at once, and resolves with how long it took until all were rejected. */
async function rejectedAfter(reads: Reads, count: number, meanwhile = (): void => {}): Promise<number> {
  const began = performance.now();
  const answers = Promise.allSettled(Array.from({ length: count }, () => reads.run(question)));
  await vi.advanceTimersByTimeAsync(1);
  meanwhile();
  const rejected = answers.then((all) => {
    expect(all.map(({ status }) => status)).toEqual(all.map(() => "rejected"));
    return performance.now() - began;
  });
  await vi.advanceTimersByTimeAsync(60_000);
  return rejected;
}

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

it("waits twice as long after each connection on which Redis was silent, however many questions were asked on it", async () => {
  const reads = new Reads(new SilentRedis(), timeout);
  expect(await rejectedAfter(reads, 10)).toBeCloseTo(timeout, -1);
  expect(await rejectedAfter(reads, 10)).toBeCloseTo(2 * timeout, -1);
  expect(await rejectedAfter(reads, 1)).toBeCloseTo(4 * timeout, -1);
  reads.close();
});

it("waits no longer after connections that were lost", async () => {
  const redis = new SilentRedis();
  const reads = new Reads(redis, timeout);
  for (let n = 0; n < 3; n++)
    expect(await rejectedAfter(reads, 10, () => redis.opened.at(-1)?.onClose())).toBeLessThan(timeout);
  expect(await rejectedAfter(reads, 1)).toBeCloseTo(timeout, -1);
  reads.close();
});
