import { AsyncLocalStorage } from "node:async_hooks";
import express, { type ErrorRequestHandler, type Response } from "express";
import { eventSource } from "express-event-source";
import { expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { endless, failOnWarnings, Gate, stage, until } from "../support/stage.js";

failOnWarnings();

it("starts one source for thousands of requests on one connection, which all end when the client leaves", async () => {
  const s = await stage(endless);
  const client = new RawClient(s.port);
  const request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  client.socket.write(request.repeat(5_000));
  await client.until("hello");
  await until(() => s.begun === 5_000);
  const [socket] = s.sockets;
  // One of Node's own for each response that has the connection, and one for all that wait.
  expect(socket?.listenerCount("close")).toBeLessThan(6);
  expect(s.streams.length).toBe(1);
  client.socket.resetAndDestroy();
  await until(() => s.over === 5_000);
  expect(s.streams.length).toBe(1);
  expect(s.summaries.map(({ reason }) => reason)).toEqual(["disconnected"]);
  expect(s.passedOn).toEqual([]);
});

it("answers each pipelined request when its turn comes: a stream, HEAD, 204 and an error", async () => {
  const gate = new Gate();
  const app = express();
  app.get(
    "/first",
    eventSource(async function* () {
      yield "first";
      await gate.opened;
    }),
  );
  const called: string[] = [];
  app.get(
    "/:kind",
    eventSource((req) => {
      called.push(`${req.method} ${req.params["kind"]}`);
      if (req.params["kind"] === "nothing") return null;
      if (req.params["kind"] === "error") throw new Error("source");
      return ["second"];
    }),
  );
  app.use(((_error, _req, res, _next) => void res.status(418).end()) as ErrorRequestHandler);
  const { port } = await serve(app);
  const client = new RawClient(port)
    .request("GET", "/first")
    .request("HEAD", "/stream")
    .request("GET", "/nothing")
    .request("GET", "/error")
    .request("GET", "/stream", { Connection: "close" });
  await client.until("data: first");
  expect(called).toEqual([]);
  gate.open();
  await client.ended();
  expect([...client.received.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status)).toEqual([
    "200",
    "200",
    "204",
    "418",
    "200",
  ]);
  expect(called).toEqual(["GET nothing", "GET error", "GET stream"]);
  expect(client.received).toContain("data: second");
});

it("runs a pipelined source as part of its own request, though another one makes room for it", async () => {
  const storage = new AsyncLocalStorage<string>();
  const gate = new Gate();
  const seen: unknown[] = [];
  const app = express();
  app.use((req, _res, next) => storage.run(req.path, next));
  app.get(
    "/first",
    eventSource(async function* () {
      yield "first";
      await gate.opened;
    }),
  );
  app.get(
    "/second",
    eventSource(() => {
      seen.push(storage.getStore());
      return ["second"];
    }),
  );
  const { port } = await serve(app);
  const client = new RawClient(port).request("GET", "/first").request("GET", "/second", { Connection: "close" });
  await client.until("data: first");
  gate.open();
  await client.ended();
  expect(seen).toEqual(["/second"]);
});

it("leaves a pipelined response alone that something else has answered before its turn", async () => {
  const gate = new Gate();
  const answered = new Gate();
  const app = express();
  const passedOn: unknown[] = [];
  app.get(
    "/first",
    eventSource(async function* () {
      yield "first";
      await gate.opened;
    }),
  );
  let over = false;
  app.get("/second", async (req, res) => {
    setImmediate(() => {
      res.status(503).send("too late");
      answered.open();
    });
    await eventSource(["second"])(req, res, (error) => passedOn.push(error));
    over = true;
  });
  const { port } = await serve(app);
  const client = new RawClient(port).request("GET", "/first").request("GET", "/second");
  await client.until("data: first");
  await answered.opened;
  gate.open();
  expect(await client.until("too late")).toContain("503 Service Unavailable");
  await until(() => over);
  expect(passedOn).toEqual([]);
});

it("tells a pipelined stream whose turn comes during a shutdown to come back", async () => {
  const stop = new AbortController();
  const s = await stage(endless, { shutdownSignal: stop.signal });
  const client = new RawClient(s.port).request("GET", "/").request("GET", "/");
  await client.until("hello");
  await until(() => s.begun === 2);
  stop.abort();
  expect(await client.ended()).toMatch(/Connection: close\r\n[^]*retry: 3000\n\n/i);
  await until(() => s.over === 2);
  expect(s.streams.length).toBe(1);
});

it.each([
  ["the response before it was the connection's last", (res: Response) => void res.set("Connection", "close").end()],
  ["the connection was cut", (res: Response) => void res.destroy()],
])("ends a pipelined stream that begins when %s", async (_when, answer) => {
  const gate = new Gate();
  const app = express();
  app.get("/first", (_req, res) => {
    res.on("finish", gate.open).on("close", gate.open);
    setImmediate(() => answer(res));
  });
  let over = 0;
  let calls = 0;
  app.get("/second", async (req, res, next) => {
    await gate.opened;
    await eventSource(() => {
      calls += 1;
      return ["second"];
    })(req, res, next);
    over += 1;
  });
  const { port } = await serve(app);
  new RawClient(port).request("GET", "/first").request("GET", "/second");
  await until(() => over === 1);
  expect(calls).toBe(0);
});
