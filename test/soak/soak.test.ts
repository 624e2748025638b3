import express from "express";
import { eventSource, type EventSourceOptions, type EventStream } from "express-event-source";
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { failOnWarnings } from "../support/stage.js";

/*
 * By hand, for as long as you like:   SOAK=20000 npx vitest run test/soak
 * (so many connections, and a hundred times as many events in one stream). Without it, a few seconds.
 */
const connections = Number(process.env.SOAK ?? 250);
const events = Number(process.env.SOAK ?? 1_000) * 100;
const hours = 3 * 3_600_000;

failOnWarnings();

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

const MB = 1_000_000;

async function heap(): Promise<number> {
  // What a finished request holds until its callbacks have run.
  await sleep(50);
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Shows the figures of a run by hand. */
const tell = (figures: object): void => void (process.env.SOAK !== undefined && console.log(figures));

const upTo = (limit: number): number => Math.floor(Math.random() * limit);
const oneOf = <T>(choices: readonly T[]): T => choices[upTo(choices.length)] as T;

let started = 0;
let finished = 0;

/** Counts a source, and that it was let go. */
async function* counted(source: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  started += 1;
  try {
    yield* source;
  } finally {
    finished += 1;
  }
}

const shapes: ((stream: EventStream) => AsyncGenerator<unknown>)[] = [
  async function* alwaysReady() {
    for (let n = 0; ; n++) yield { id: n, data: { n } };
  },
  async function* short() {
    for (let n = 0; n < 10; n++) yield n;
  },
  async function* empty() {},
  async function* large() {
    for (let n = 0; n < 20; n++) yield "x".repeat(upTo(500_000));
  },
  async function* bytes() {
    for (;;) {
      yield new TextEncoder().encode("data: bytes\n\n");
      await sleep(upTo(5));
    }
  },
  async function* withTheSignal({ signal }) {
    for (;;) {
      yield "tick";
      await sleep(upTo(30), undefined, { signal });
    }
  },
  async function* withoutTheSignal() {
    for (;;) {
      yield "tick";
      await sleep(upTo(30));
    }
  },
  async function* idle({ signal }) {
    yield "hello";
    await sleep(hours, undefined, { signal });
  },
  async function* failing() {
    for (let n = upTo(10); n > 0; n--) yield n;
    await sleep(upTo(10));
    throw new Error("boom");
  },
  async function* wrong() {
    yield "right";
    yield null;
  },
];

/** Sends `count` clients, as `clients.js` has them, and waits until all have left. */
async function clients(port: number, count: number): Promise<void> {
  const child = fork(fileURLToPath(new URL("clients.js", import.meta.url)), [port, count, shapes.length].map(String), {
    execArgv: [],
  });
  expect(await once(child, "exit")).toEqual([0, null]);
}

it(`leaves nothing behind after ${connections} clients that come and go`, { timeout: hours }, async () => {
  let begun = 0;
  let over = 0;
  const options: EventSourceOptions<unknown>[] = [
    {},
    { pingInterval: 7, retry: 5 },
    { sendTimeout: 40, maxDuration: 60 },
    { onError: () => ({ event: "failed", data: "" }), pingInterval: false },
    { shutdownSignal: new AbortController().signal, endOnServerClose: false },
  ];
  const app = express();
  app.all("/:shape", async (req, res, next) => {
    begun += 1;
    const shape = shapes[Number(req.params.shape)] as (typeof shapes)[number];
    await eventSource((_req, stream) => counted(shape(stream)), {
      ...oneOf(options),
      toEvent: (item) => item as string,
    })(req as never, res, next);
    over += 1;
  });
  app.use((_error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
    if (!res.headersSent) res.sendStatus(500);
  });
  const { server, port } = await serve(app);

  const settled = async (): Promise<void> => {
    // A client that left at once may still wait to be accepted.
    for (let quiet = 0; quiet < 10; quiet++) {
      const open = await new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));
      if (open > 0 || over < begun || finished < started) quiet = 0;
      await sleep(10);
    }
  };
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

  // Once, so that everything that is made once has been made.
  await clients(port, 100);
  await settled();
  const listeners = process.eventNames().map((name) => [name, process.listenerCount(name)]);
  const timersBefore = timers();
  const heapBefore = await heap();

  await clients(port, connections);
  await settled();
  expect(finished).toBe(started);
  expect(over).toBe(begun);
  expect(begun).toBeGreaterThan(connections / 2);
  expect(process.eventNames().map((name) => [name, process.listenerCount(name)])).toEqual(listeners);
  expect(timers()).toBeLessThanOrEqual(timersBefore);
  const grown = (await heap()) - heapBefore;
  tell({ connections, begun, started, finished, grown });
  // Express without this library leaves some hundred bytes a connection, too.
  expect(grown).toBeLessThan(2 * MB + connections * 300);
});

it(`holds no more memory at the end of ${events} events than at their beginning`, { timeout: hours }, async () => {
  const marks: number[] = [];
  const app = express();
  app.get(
    "/",
    eventSource(async function* () {
      for (let n = 0; n < events; n++) {
        if (n === Math.floor(events / 10) || n === events - 1) marks.push(await heap());
        yield { id: n, event: "number", data: { n, text: "some text to make it an ordinary event" } };
      }
      yield "the end";
    }),
  );
  const { port } = await serve(app);
  const client = new RawClient(port).request("GET", "/").forget();
  await client.until("data: the end\n\n");
  const [early, late] = marks as [number, number];
  tell({ events, early, late });
  expect(late - early).toBeLessThan(3 * MB);
});
