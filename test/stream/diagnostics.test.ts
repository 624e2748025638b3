import { eventSource } from "express-event-source";
import express from "express";
import type { ServerResponse } from "node:http";
import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { describe, expect, it, onTestFinished } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { aborted, failOnWarnings, Gate, stage } from "../support/stage.js";

failOnWarnings();

const occasions = ["open", "error", "close"] as const;
const name = (occasion: string): string => `express-event-source:${occasion}`;

/** What the channels say until the test is over. */
function listen(): { occasion: string; message: Record<string, unknown> }[] {
  const heard: { occasion: string; message: Record<string, unknown> }[] = [];
  for (const occasion of occasions) {
    const listener = (message: unknown): void =>
      void heard.push({ occasion, message: message as Record<string, unknown> });
    subscribe(name(occasion), listener);
    onTestFinished(() => void unsubscribe(name(occasion), listener));
  }
  return heard;
}

describe("the diagnostics channels", () => {
  it("tell of a stream's open and close", async () => {
    const heard = listen();
    const more = new Gate();
    const s = await stage(async function* () {
      yield "hello";
      await more.opened;
    });
    const client = new RawClient(s.port).request("GET", "/?user=7");
    await client.until("hello");
    expect(heard.map(({ occasion }) => occasion)).toEqual(["open"]);
    more.open();
    const summary = await s.hasEnded("completed", { returns: 0 });
    expect(heard.map(({ occasion, message }) => [occasion, Object.keys(message)])).toEqual([
      ["open", ["request", "response"]],
      ["close", ["request", "response", "summary"]],
    ]);
    const [open, close] = heard.map(({ message }) => message);
    expect(open?.request).toBe(close?.request);
    expect(open?.response).toBe(s.streams[0]?.response);
    expect(open?.request).toMatchObject({ url: "/?user=7" });
    expect(close?.summary).toEqual(summary);
  });

  it("show the head's status and headers when it opens", async () => {
    const heads: unknown[] = [];
    const listener = (message: unknown): void => {
      const { response } = message as { response: ServerResponse };
      heads.push([response.statusCode, response.getHeader("x-kind")]);
    };
    subscribe(name("open"), listener);
    onTestFinished(() => void unsubscribe(name("open"), listener));
    const s = await stage(() => ["x"], { status: 206, headers: { "X-Kind": "test" } });
    await fetch(s.url);
    expect(heads).toEqual([[206, "test"]]);
  });

  it("tell of an error after the head, even one that onError has answered", async () => {
    const heard = listen();
    const boom = new Error("boom");
    const s = await stage(
      async function* () {
        yield "hello";
        throw boom;
      },
      { onError: () => ({ event: "failed", data: "" }) },
    );
    await (await fetch(s.url)).text();
    await s.hasEnded("error", { returns: 0 });
    expect(heard.map(({ occasion }) => occasion)).toEqual(["open", "error", "close"]);
    expect(heard[1]?.message).toEqual({
      request: heard[0]?.message.request,
      response: heard[0]?.message.response,
      error: boom,
    });
    expect(heard[2]?.message.summary).toMatchObject({ reason: "error", error: boom, events: 1 });
  });

  it("tell of an error before the head, and then of no open and no close", async () => {
    const heard = listen();
    const boom = new Error("boom");
    const s = await stage(() => {
      throw boom;
    });
    expect((await fetch(s.url)).status).toBe(500);
    expect(heard.map(({ occasion, message }) => [occasion, message.error])).toEqual([["error", boom]]);
  });

  it("say nothing of HEAD, of 204, or of a client that left", async () => {
    const heard = listen();
    const s = await stage(() => []);
    expect((await fetch(s.url, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(s.url)).status).toBe(204);
    expect(heard).toEqual([]);
  });

  it("have no subscriber of their own", () => {
    expect(occasions.map((occasion) => channel(name(occasion)).hasSubscribers)).toEqual([false, false, false]);
  });
});

/** A recipe for the README: everything of a metrics package, once, and no hook in any route. */
function eventStreamMetrics(register: Registry): void {
  const open = new Gauge({
    name: "event_streams_open",
    help: "Event streams that are open now.",
    registers: [register],
  });
  const failed = new Counter({
    name: "event_stream_errors_total",
    help: "Event streams that failed.",
    registers: [register],
  });
  const events = new Counter({ name: "event_stream_events_total", help: "Events sent.", registers: [register] });
  const duration = new Histogram({
    name: "event_stream_duration_seconds",
    help: "How long event streams lasted, by the reason of their end.",
    labelNames: ["reason"],
    buckets: [1, 10, 60, 600, 3600],
    registers: [register],
  });

  subscribe("express-event-source:open", () => open.inc());
  subscribe("express-event-source:error", () => failed.inc());
  subscribe("express-event-source:close", (message) => {
    const { summary } = message as { summary: { reason: string; events: number; duration: number } };
    open.dec();
    events.inc(summary.events);
    duration.observe({ reason: summary.reason }, summary.duration / 1000);
  });
}

it("are all that a prom-client recipe needs", async () => {
  const register = new Registry();
  eventStreamMetrics(register);
  const app = express();
  app.get("/finite", eventSource(["one", "two", "three"]));
  app.get(
    "/fails",
    eventSource(async function* () {
      yield "one";
      throw new Error("boom");
    }),
  );
  app.get(
    "/endless",
    eventSource(async function* (_req, { signal }) {
      yield "hello";
      await aborted(signal);
    }),
  );
  app.get("/metrics", async (_req, res) => {
    res.type(register.contentType).send(await register.metrics());
  });
  app.use((_error: unknown, _req: express.Request, _res: express.Response, _next: express.NextFunction) => {});
  const { url, port } = await serve(app);
  const metrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();
  const has = async (line: string): Promise<void> => {
    let text = "";
    for (let tries = 0; tries < 500 && !text.includes(`\n${line}\n`); tries++) text = await metrics();
    expect(text).toContain(`\n${line}\n`);
  };

  await (await fetch(`${url}/finite`)).text();
  await expect((await fetch(`${url}/fails`)).text()).rejects.toThrow();
  const client = new RawClient(port).request("GET", "/endless");
  await client.until("hello");
  await has("event_streams_open 1");
  client.socket.destroy();
  await has("event_streams_open 0");
  await has("event_stream_errors_total 1");
  await has("event_stream_events_total 5");
  await has('event_stream_duration_seconds_count{reason="completed"} 1');
  await has('event_stream_duration_seconds_count{reason="error"} 1');
  await has('event_stream_duration_seconds_count{reason="disconnected"} 1');
});
