import express from "express";
import { eventSource, type EventSourceOptions } from "express-event-source";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { turn, Gate } from "../support/stage.js";

// Sockets and the loop stay real; timers and the clock are ours.
beforeEach(
  () =>
    void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] }),
);
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

async function idle(
  options: EventSourceOptions,
): Promise<{ client: RawClient; closed: Promise<unknown>; end: () => void }> {
  const closed = new Gate<unknown>();
  const gate = new Gate();
  const app = express();
  app.get(
    "/",
    eventSource(
      async function* () {
        await gate.opened;
      },
      { ...options, endOnServerClose: false, onClose: closed.open },
    ),
  );
  const { port } = await serve(app);
  const client = new RawClient(port).request("GET", "/");
  await client.until("\r\n\r\n");
  return { client, closed: closed.opened, end: gate.open };
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
