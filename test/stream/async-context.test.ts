import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import express, { type NextFunction, type Request, type Response } from "express";
import { eventSource, type EventSourceOptions, memoryBroker } from "express-event-source";
import { expect, it, onTestFinished } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { aborted, until } from "../support/stage.js";

// Timers, sockets and a broker's events come from the middle of other requests. Whatever of the application they set going
// must see the AsyncLocalStorage of the request that the stream belongs to: a user's name in a log line is the least of it.

const user = new AsyncLocalStorage<string>();
const whose = (): string => user.getStore() ?? "nobody";

/** Routes on which each request runs as the user in its query. */
function app(routes: Record<string, express.RequestHandler>, passedOn?: (error: Error) => void): express.Express {
  const app = express();
  app.use((req, _res, next) => user.run(String(req.query["user"]), next));
  for (const [path, handler] of Object.entries(routes)) app.get(path, handler);
  app.use((error: Error, _req: Request, _res: Response, _next: NextFunction) => passedOn?.(error));
  return app;
}

async function open(port: number, path: string, name: string): Promise<RawClient> {
  const client = new RawClient(port).request("GET", `${path}?user=${name}`);
  await client.until("\r\n\r\n");
  return client;
}

it("is the stream's own where another request publishes, and the subscriber is woken", async () => {
  const broker = memoryBroker<{ data: string }>();
  const seen: string[] = [];
  const { port } = await serve(
    app({
      "/": eventSource((_req, stream) => broker.subscribe("room", stream), {
        toEvent: (event) => (seen.push(`event ${whose()}`), event),
        onClose: () => seen.push(`close ${whose()}`),
      }),
      "/publish": (_req, res) => {
        void broker.publish("room", { data: "published" });
        res.send("published");
      },
      "/end": (_req, res) => {
        void broker.end("room");
        res.send("ended");
      },
    }),
  );
  const listener = await open(port, "/", "ann");
  await (await open(port, "/publish", "bob")).until("published");
  await listener.until("data: published");
  await (await open(port, "/end", "bob")).until("ended");
  await until(() => seen.length === 2);
  expect(seen).toEqual(["event ann", "close ann"]);
});

it("is the stream's own in pings, which share a timer", async () => {
  const options: EventSourceOptions = { pingInterval: 20, ping: () => ({ event: "ping", data: whose() }) };
  const { port } = await serve(app({ "/": eventSource(() => new ReadableStream(), options) }));
  const [ann, bob] = [await open(port, "/", "ann"), await open(port, "/", "bob")];
  await Promise.all([ann.until("data: ann"), bob.until("data: bob")]);
  expect(ann.received).not.toContain("bob");
  expect(bob.received).not.toContain("ann");
});

it.each(["the client leaves", "time is up", "the client takes nothing"])(
  "is the stream's own in signal, finally and onClose, when %s",
  async (how) => {
    const seen: string[] = [];
    const options: EventSourceOptions = {
      pingInterval: 10,
      onClose: ({ reason }) => seen.push(`close ${whose()} ${reason}`),
    };
    const endings = {
      "the client leaves": {},
      "time is up": { maxDuration: 40 },
      "the client takes nothing": { sendTimeout: 40 },
    };
    const { port } = await serve(
      app({
        "/": eventSource(
          async function* (_req, { signal }) {
            signal.addEventListener("abort", () => seen.push(`abort ${whose()}`));
            try {
              yield "begun";
              while (how === "the client takes nothing") yield "x".repeat(100_000);
              await aborted(signal);
            } finally {
              seen.push(`finally ${whose()}`);
            }
          },
          { ...options, ...endings[how as keyof typeof endings] },
        ),
        "/other": eventSource(() => new ReadableStream(), options),
      }),
    );
    // Begins the timers that all share.
    await open(port, "/other", "bob");
    const client = await open(port, "/", "ann");
    if (how === "the client leaves") client.socket.resetAndDestroy();
    if (how === "the client takes nothing") client.socket.pause();
    await until(() => seen.length === 3);
    expect(seen.map((line) => line.split(" ").slice(0, 2).join(" ")).sort()).toEqual([
      "abort ann",
      "close ann",
      "finally ann",
    ]);
  },
);

it("is the stream's own in onError and in Express's error handler, where a ping fails", async () => {
  const seen: string[] = [];
  const ping = () => {
    if (whose() === "ann") throw new Error("no ping for ann");
    return { comment: "ping" };
  };
  const { port } = await serve(
    app(
      {
        "/": eventSource(() => new ReadableStream(), {
          pingInterval: 20,
          ping,
          onError: () => void seen.push(`error ${whose()}`),
        }),
      },
      () => seen.push(`next ${whose()}`),
    ),
  );
  await open(port, "/", "bob");
  await (await open(port, "/", "ann")).ended();
  await until(() => seen.length === 2);
  expect(seen).toEqual(["error ann", "next ann"]);
});

it("is the stream's own in retry, in what a shutdown tells, and in the diagnostics, where another request shuts down", async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  const options: EventSourceOptions = { shutdownSignal: stop.signal, retry: () => (seen.push(`retry ${whose()}`), 5) };
  const opened = (): void => void seen.push(`opened ${whose()}`);
  subscribe("express-event-source:open", opened);
  onTestFinished(() => void unsubscribe("express-event-source:open", opened));
  const { port } = await serve(
    app({
      "/": eventSource((_req, { shutdown }) => {
        shutdown.addEventListener("abort", () => seen.push(`shutdown ${whose()}`));
        return new Promise<never>(() => {});
      }, options),
      "/stop": (_req, res) => {
        stop.abort();
        res.send("stopped");
      },
    }),
  );
  const client = new RawClient(port).request("GET", "/?user=ann");
  await (await open(port, "/stop", "bob")).until("stopped");
  await client.ended();
  expect(seen).toEqual(["shutdown ann", "retry ann", "opened ann"]);
});

it("is the stream's own in the diagnostics, where a ping fails", async () => {
  const seen: string[] = [];
  const failed = (): void => void seen.push(`failed ${whose()}`);
  subscribe("express-event-source:error", failed);
  onTestFinished(() => void unsubscribe("express-event-source:error", failed));
  const ping = () => {
    if (whose() === "ann") throw new Error("no ping for ann");
    return { comment: "ping" };
  };
  const { port } = await serve(app({ "/": eventSource(() => new ReadableStream(), { pingInterval: 20, ping }) }));
  await open(port, "/", "bob");
  await (await open(port, "/", "ann")).ended();
  expect(seen).toEqual(["failed ann"]);
});

it("is the stream's own in every write that a middleware sees, where another request publishes", async () => {
  const broker = memoryBroker<{ data: string }>();
  const seen: string[] = [];
  const listen = eventSource((_req, stream) => broker.subscribe("room", stream));
  const { port } = await serve(
    app({
      "/": (req, res, next) => {
        const write = res.write.bind(res) as (chunk: string) => boolean;
        res.write = (chunk: string) => (seen.push(`${String(req.query["user"])} as ${whose()}`), write(chunk));
        void listen(req, res, next);
      },
      "/publish": (_req, res) => {
        void broker.publish("room", { data: "published" });
        res.send("published");
      },
    }),
  );
  const names = ["ann", "bea", "cid"];
  const clients = await Promise.all(names.map((name) => open(port, "/", name)));
  await (await open(port, "/publish", "bob")).until("published");
  await Promise.all(clients.map((client) => client.until("data: published")));
  expect(seen.sort()).toEqual(["ann as ann", "bea as bea", "cid as cid"]);
});
