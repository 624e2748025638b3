import express from "express";
import { eventSource, type EventSourceOptions } from "express-event-source";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { every as beat } from "../../src/runtime/shared-interval.js";
import { deferred } from "../support/deferred.js";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { turn } from "../support/stage.js";

// Sockets and the loop stay real; timers and the clock are ours.
beforeEach(
  () =>
    void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] }),
);
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const every = (interval: number, tick: () => void): (() => void) => {
  const calls = beat(interval, { tick });
  return () => calls.stop();
};

async function idle(
  options: EventSourceOptions,
): Promise<{ client: RawClient; closed: Promise<unknown>; end: () => void }> {
  const closed = deferred<unknown>();
  const gate = deferred();
  const app = express();
  app.get(
    "/",
    eventSource(
      async function* () {
        await gate.promise;
      },
      { ...options, endOnServerClose: false, onClose: closed.resolve },
    ),
  );
  const { port } = await serve(app);
  const client = new RawClient(port).request("GET", "/");
  await client.until("\r\n\r\n");
  return { client, closed: closed.promise, end: gate.resolve };
}

const pings = (text: string, ping = ": ping\n\n"): number => text.split(ping).length - 1;

describe("pings", () => {
  it("come one interval after the head, then with each interval", async () => {
    const { client } = await idle({ pingInterval: 1_000, ping: () => ({ comment: String(performance.now()) }) });
    const start = performance.now();
    vi.advanceTimersByTime(990);
    await turn();
    expect(client.body).toBe("");
    vi.advanceTimersByTime(10);
    await client.until(`: ${start + 1_000}\n\n`);
    vi.advanceTimersByTime(1_000);
    await client.until(`: ${start + 2_000}\n\n`);
    expect(pings(client.body, "\n\n")).toBe(2);
  });

  it("come every 15 seconds by themselves, as a comment", async () => {
    const { client } = await idle({});
    vi.advanceTimersByTime(14_990);
    await turn();
    expect(client.body).toBe("");
    vi.advanceTimersByTime(10);
    await client.until(": ping\n\n");
    expect(client.body).toBe(": ping\n\n");
  });

  it("are what ping returns, asked anew each time", async () => {
    let n = 0;
    const { client } = await idle({ pingInterval: 1_000, ping: () => ({ event: "ping", data: { n: ++n } }) });
    vi.advanceTimersByTime(1_000);
    await client.until('event: ping\ndata: {"n":1}\n\n');
    vi.advanceTimersByTime(1_000);
    await client.until('event: ping\ndata: {"n":2}\n\n');
  });

  it.each([[false], [0]] as const)("do not come with pingInterval %o, and no timer is held", async (pingInterval) => {
    const { client, closed, end } = await idle({ pingInterval });
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(3_600_000);
    end();
    await closed;
    await client.until("\r\n0\r\n");
    expect(client.body).toBe("");
  });

  it("leave no timer when the stream has ended", async () => {
    const { closed, end } = await idle({ pingInterval: 1_000 });
    expect(vi.getTimerCount()).toBe(1);
    end();
    await closed;
    expect(vi.getTimerCount()).toBe(0);
  });

  it("leave no timer when the client has left", async () => {
    const { client, closed } = await idle({ pingInterval: 1_000 });
    client.socket.destroy();
    expect(await closed).toMatchObject({ reason: "disconnected" });
    expect(vi.getTimerCount()).toBe(0);
  });

  it("count as bytes and not as events", async () => {
    const { client, closed, end } = await idle({ pingInterval: 1_000 });
    vi.advanceTimersByTime(1_000);
    await client.until(": ping\n\n");
    end();
    expect(await closed).toMatchObject({ events: 0, bytes: 8 });
  });
});

describe("the sharedInterval", () => {
  it("serves any number of streams with one timer", () => {
    const stops = Array.from({ length: 10_000 }, () => every(1_000, () => {}));
    expect(vi.getTimerCount()).toBe(1);
    for (const stop of stops) stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("calls those who fall due together in batches, with a turn of the loop between them", async () => {
    let calls = 0;
    const stops = Array.from({ length: 1_000 }, () => every(1_000, () => (calls += 1)));
    vi.advanceTimersByTime(1_000);
    const seen = [calls];
    while (calls < 1_000) {
      await turn();
      seen.push(calls);
    }
    for (const stop of stops) stop();
    expect(calls).toBe(1_000);
    const bursts = seen.map((count, n) => count - (seen[n - 1] ?? 0));
    expect(Math.max(...bursts)).toBeLessThanOrEqual(200);
  });

  it("keeps each one's own phase", () => {
    const calls: string[] = [];
    const stopA = every(1_000, () => calls.push(`a ${performance.now() - start}`));
    const start = performance.now();
    vi.advanceTimersByTime(400);
    const stopB = every(1_000, () => calls.push(`b ${performance.now() - start}`));
    vi.advanceTimersByTime(2_000);
    stopA();
    stopB();
    expect(calls).toEqual(["a 1000", "b 1400", "a 2000", "b 2400"]);
  });

  it("skips what a held-up loop has missed, and does not drift", async () => {
    const calls: number[] = [];
    const now = vi.spyOn(performance, "now");
    const start = performance.now();
    const stop = every(1_000, () => calls.push(performance.now() - start));
    vi.advanceTimersByTime(1_000);
    // The loop hangs: time goes by, and timers do not fire.
    now.mockReturnValue(start + 4_300);
    vi.advanceTimersByTime(1_000);
    now.mockReturnValue(start + 5_000);
    vi.advanceTimersByTime(700);
    stop();
    expect(calls).toEqual([1_000, 4_300, 5_000]);
  });

  it("keeps everyone's own beat after the loop was held up", () => {
    const now = vi.spyOn(performance, "now");
    const start = performance.now();
    const calls: string[] = [];
    const stops = [0, 600].map((offset) => {
      vi.advanceTimersByTime(offset);
      return every(1_000, () => calls.push(`${offset} at ${performance.now() - start}`));
    });
    now.mockReturnValue(start + 2_300);
    vi.advanceTimersByTime(1_000);
    for (const at of [2_600, 3_000, 3_600]) {
      now.mockReturnValue(start + at);
      vi.advanceTimersByTime(at === 2_600 ? 300 : 600);
    }
    for (const stop of stops) stop();
    expect(calls).toEqual(["600 at 2300", "0 at 2300", "600 at 2600", "0 at 3000", "600 at 3600"]);
  });

  it("beats under real timers while a stream of fake ones is left, and the other way round", async () => {
    const real = globalThis.setTimeout;
    const fakeCalls: number[] = [];
    const stopFake = every(20, () => fakeCalls.push(1));
    vi.useRealTimers();
    await new Promise<void>((resolve) => {
      const stop = every(20, () => {
        stop();
        resolve();
      });
    });
    vi.useFakeTimers();
    expect(globalThis.setTimeout).not.toBe(real);
    const stop = every(20, () => fakeCalls.push(2));
    vi.advanceTimersByTime(20);
    expect(fakeCalls).toEqual([2]);
    stop();
    stopFake();
  });

  it("calls nobody who was stopped, even by one before in the same beat", () => {
    const calls: string[] = [];
    const stopFirst = every(1_000, () => {
      calls.push("first");
      stopSecond();
    });
    const stopSecond = every(1_000, () => calls.push("second"));
    vi.advanceTimersByTime(2_000);
    stopFirst();
    expect(calls).toEqual(["first", "first"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("goes on with the others when one is stopped", () => {
    const calls: string[] = [];
    const stops = ["a", "b", "c"].map((name) => every(1_000, () => calls.push(name)));
    stops[0]?.();
    vi.advanceTimersByTime(1_000);
    for (const stop of stops) stop();
    expect(calls).toEqual(["b", "c"]);
  });
});
