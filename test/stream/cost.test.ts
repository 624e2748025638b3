import { createHook } from "node:async_hooks";
import { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { eventSource, memoryBroker } from "express-event-source";
import express from "express";
import { afterEach, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";

// What a stream costs, as counts: they are the same on every machine, however busy it is.

// All but this, which goes by the clock: a process that is held up would seem to have worked for long.
vi.mock("../../src/runtime/turn.js", async (importOriginal) => ({
  ...(await importOriginal<object>()),
  isTurnSpent: () => false,
}));

const payload = "x".repeat(100 - "data: \n\n".length);

async function* ready(count: number) {
  for (let n = 0; n < count; n++) yield payload;
  yield "the last";
}

const silent: AsyncIterable<never> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) };

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

it("writes a thousand ready events of 100 bytes in a write for each 16 kB", async () => {
  const write = vi.spyOn(ServerResponse.prototype, "write");
  const { port } = await serve(express().get("/", eventSource(ready(1_000))));
  await new RawClient(port).request("GET", "/").until("the last");
  // 163 whole events fit into 16 kB, so seven at least; one more where the client makes room in two steps.
  expect(write.mock.calls.length).toBeLessThanOrEqual(8);
});

it("makes no promise for an event but those of a loop that awaits the generator", async () => {
  const streamed = async (events: number): Promise<number> => {
    const { port } = await serve(express().get("/", eventSource(ready(events))));
    const client = new RawClient(port);
    return promisesOf(() => client.request("GET", "/").until("the last"));
  };
  const looped = (events: number): Promise<number> =>
    promisesOf(async () => {
      const source = ready(events);
      while ((await source.next()).done !== true);
    });
  // What the request itself costs is the same for both numbers of events.
  const perEvent = async (promises: typeof looped) => ((await promises(11_000)) - (await promises(1_000))) / 10_000;
  // One for each time that the client has to make room is well below a tenth.
  expect(await perEvent(streamed)).toBeLessThan((await perEvent(looped)) + 0.1);
});

it("makes no promise for a stream to which a broker gives an event, and writes it in one piece", async () => {
  const broker = memoryBroker<{ data: string }>();
  const responses: ServerResponse[] = [];
  const { port } = await serve(
    express().get(
      "/",
      eventSource((_req, stream) => (responses.push(stream.response), broker.subscribe("room", stream))),
    ),
  );
  const clients = await open(port, 100);
  const publish = async (data: string) => {
    await broker.publish("room", { data });
    await Promise.all(clients.map((client) => client.until(`data: ${data}\n`)));
  };
  // The first one has the head to take along.
  await publish("first");
  const writes = responses.map(({ socket }) => vi.spyOn(socket as Socket, "write"));
  // Those of this test, which waits for each client, and some for the publishing itself: fewer than one for each stream.
  const waited = await promisesOf(() => Promise.all(clients.map((client) => client.until("data: first\n"))));
  expect(await promisesOf(() => publish("second"))).toBeLessThan(waited + clients.length / 2);
  expect(writes.map((write) => write.mock.calls.length)).toEqual(responses.map(() => 1));
  await broker.close();
});

it("remembers no subscription in a WeakSet, because a subscription itself knows that it has been read", async () => {
  const add = vi.spyOn(WeakSet.prototype, "add");
  const broker = memoryBroker();
  const { port } = await serve(
    express().get(
      "/",
      eventSource((_req, stream) => broker.subscribe("room", stream)),
    ),
  );
  const clients = await open(port, 100);
  expect(add.mock.calls.length).toBeLessThan(clients.length / 2);
  await broker.close();
});

it("makes no AbortSignal for a stream that is subscribed to a broker", async () => {
  const made = countAbortControllers();
  const broker = memoryBroker();
  const { port } = await serve(
    express().get(
      "/",
      eventSource((_req, stream) => broker.subscribe("room", stream)),
    ),
  );
  const [client] = await open(port, 1);
  client?.socket.resetAndDestroy();
  await broker.close();
  expect(made()).toBe(0);
});

it("keeps two timers for a thousand idle streams, for pings and for a server that closes, and none for clients that take what there is", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  const { port } = await serve(express().get("/", eventSource(silent, { retry: 1_000 })));
  await open(port, 1_000);
  expect(vi.getTimerCount()).toBe(2);
});

it("puts a stream in no Set, whose old tables would keep streams that have gone in memory", async () => {
  const add = vi.spyOn(Set.prototype, "add");
  const { port } = await serve(
    express().get(
      "/",
      eventSource(() => silent, { shutdownSignal: new AbortController().signal }),
    ),
  );
  const clients = await open(port, 100);
  // Whoever else in this process uses a Set, such as the test runner, does so less often than once for each stream.
  expect(add.mock.calls.length).toBeLessThan(clients.length / 2);
  for (const { socket } of clients) socket.resetAndDestroy();
});

it("makes no AbortController for a stream whose source asks for no signal", async () => {
  const made = countAbortControllers();
  const { port } = await serve(
    express().get(
      "/",
      eventSource(() => ready(10), { maxDuration: 60_000 }),
    ),
  );
  await new RawClient(port).request("GET", "/", { Connection: "close" }).ended();
  expect(made()).toBe(0);
});

it("makes one AbortController for a stream whose source asks for its signal again and again", async () => {
  const made = countAbortControllers();
  const { port } = await serve(
    express().get(
      "/",
      eventSource(async function* (_req, stream) {
        for (let n = 0; n < 10; n++) yield String(stream.signal.aborted);
      }),
    ),
  );
  await new RawClient(port).request("GET", "/", { Connection: "close" }).ended();
  expect(made()).toBe(1);
});

it("serializes an event once, however many streams a broker gives it to", async () => {
  const broker = memoryBroker();
  const { port } = await serve(
    express().get(
      "/",
      eventSource((_req, stream) => broker.subscribe("room", stream)),
    ),
  );
  const clients = await open(port, 50);
  let serialized = 0;
  await broker.publish("room", { data: { toJSON: () => (serialized += 1) } });
  await Promise.all(clients.map((client) => client.until("data: 1\n")));
  expect(serialized).toBe(1);
  await broker.close();
});

async function promisesOf(work: () => Promise<unknown>): Promise<number> {
  let promises = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === "PROMISE") promises += 1;
    },
  }).enable();
  await work();
  hook.disable();
  return promises;
}

/** Opens streams, each until its head has come. */
function open(port: number, streams: number): Promise<RawClient[]> {
  return Promise.all(
    Array.from({ length: streams }, async () => {
      const client = new RawClient(port).request("GET", "/");
      await client.until("\r\n\r\n");
      return client;
    }),
  );
}

/** Counts from now on, until the test is over. */
function countAbortControllers(): () => number {
  const Original = globalThis.AbortController;
  let made = 0;
  vi.stubGlobal(
    "AbortController",
    class extends Original {
      constructor() {
        super();
        made += 1;
      }
    },
  );
  return () => made;
}
