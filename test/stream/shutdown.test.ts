import express, { type RequestHandler } from "express";
import { eventSource, type EventSourceOptions, type StreamSummary } from "express-event-source";
import { getEventListeners, once } from "node:events";
import { createServer, Server } from "node:http";
import { type AddressInfo, createServer as createNetServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import {
  aborted,
  failOnAbort,
  failOnWarnings,
  fakeTimers,
  Gate,
  Stage,
  stage,
  standsStill,
  turn,
  until,
} from "../support/stage.js";
import { tlsConnection, tlsServer } from "../support/tls.js";

failOnWarnings();

const lastChunk = "\r\n0\r\n\r\n";

/** Yields one item, then waits until it is let go. */
async function* endless(_req: unknown, { signal }: { signal: AbortSignal }) {
  yield "hello";
  await failOnAbort(signal);
}

/** Says goodbye when the server begins to close. */
async function* polite(_req: unknown, { shutdown }: { shutdown: AbortSignal }) {
  yield "hello";
  await aborted(shutdown);
  yield "farewell";
}

async function connected(s: Stage): Promise<RawClient> {
  const client = new RawClient(s.port).request("GET", "/");
  await client.until("hello");
  return client;
}

/** Closes, and tells how long it took. */
async function close(server: Server): Promise<number> {
  const start = performance.now();
  await new Promise((resolve) => server.close(resolve));
  return performance.now() - start;
}

/** The limit of the design is the grace period and a second; the rest is for a busy machine. */
const soon = 5_000;

describe("server.close()", () => {
  it("ends a thousand streams, each with its farewell, before the grace period is over", async () => {
    // Long enough for a busy machine: the server does not wait for it, because all the streams end before.
    const s = await stage(polite, { shutdownGracePeriod: 15_000 });
    const clients: RawClient[] = [];
    for (let n = 0; n < 10; n++) clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connected(s)))));
    const took = await close(s.server);
    expect(took).toBeLessThan(15_000);
    await Promise.all(clients.map((client) => client.ended()));
    expect(clients.filter(({ received }) => received.endsWith(`data: farewell\n\n${lastChunk}`)).length).toBe(1_000);
    expect(s.summaries.filter(({ reason, events }) => reason === "shutdown" && events === 2).length).toBe(1_000);
    expect(s.leakedListeners).toEqual([]);
  });

  it("lets the loop turn while it ends streams whose clean-up takes long", async () => {
    const s = await stage(async function* (_req, { signal }) {
      signal.addEventListener("abort", () => {
        const end = performance.now() + 2;
        while (performance.now() < end);
      });
      yield "hello";
      await new Promise(() => {});
    });
    await Promise.all(Array.from({ length: 100 }, () => connected(s)));
    let ended = 0;
    let mostInOneTurn = 0;
    let isClosed = false;
    const closed = close(s.server).then(() => (isClosed = true));
    while (!isClosed) {
      await turn();
      mostInOneTurn = Math.max(mostInOneTurn, s.summaries.length - ended);
      ended = s.summaries.length;
    }
    await closed;
    expect(s.summaries.map(({ reason }) => reason)).toEqual(Array.from({ length: 100 }, () => "shutdown"));
    // Five take a whole turn; some more where others' ends are still being handed over.
    expect(mostInOneTurn).toBeLessThan(50);
  });

  it("leaves the connection to the pipelined request that is being answered on it by now", async () => {
    const stop = new AbortController();
    const gate = new Gate();
    const app = express();
    app.get(
      "/",
      eventSource(
        async function* (_req, { response }) {
          yield "hello";
          await gate.opened;
          response.end();
          await new Promise(() => {});
        },
        { shutdownSignal: stop.signal, shutdownGracePeriod: 10_000 },
      ),
    );
    app.get("/next", (_req, res) => void setImmediate(() => setImmediate(() => res.send("answered"))));
    const { port } = await serve(app);
    const client = new RawClient(port).request("GET", "/").request("GET", "/next");
    await client.until("hello");
    stop.abort();
    gate.open();
    await client.until("answered");
  });

  it("is not held up by a stream whose response something else ends", async () => {
    const s = await stage(
      async function* (_req, { shutdown, response }) {
        yield "hello";
        await aborted(shutdown);
        setImmediate(() => response.end());
        await new Promise(() => {});
      },
      { shutdownGracePeriod: 10_000 },
    );
    // Node would keep the connection for the client's next request.
    s.server.keepAliveTimeout = 0;
    await connected(s);
    expect(await close(s.server)).toBeLessThan(soon);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["disconnected"]);
  });

  it("ends streams that say nothing when the grace period is over", async () => {
    const s = await stage(endless, { shutdownGracePeriod: 300 });
    const client = await connected(s);
    const closed = close(s.server);
    await until(() => s.streams[0]?.shutdown.aborted === true);
    expect(s.streams[0]?.signal.aborted).toBe(false);
    expect(await closed).toBeLessThan(300 + soon);
    expect(await client.ended()).toContain(lastChunk);
    await s.hasEnded("shutdown");
  });

  it("ends streams whose source is always ready", async () => {
    const s = await stage(async function* () {
      yield "hello";
      for (let n = 0; ; n++) yield n;
    });
    const client = await connected(s);
    client.forget();
    expect(await close(s.server)).toBeLessThan(soon);
    expect(await client.ended()).toContain(lastChunk);
    await s.hasEnded("shutdown");
  });

  it("ends streams whose source takes no notice", async () => {
    const s = await stage(async function* () {
      yield "hello";
      await new Promise(() => {});
    });
    const client = await connected(s);
    expect(await close(s.server)).toBeLessThan(soon);
    expect(await client.ended()).toContain(lastChunk);
    await s.hasEnded("shutdown");
  });

  it("cuts clients that read nothing", async () => {
    let asked = 0;
    const s = await stage(async function* () {
      yield "hello";
      for (;;) {
        asked += 1;
        yield "x".repeat(50_000);
      }
    });
    const client = await connected(s);
    client.socket.pause();
    await standsStill(() => asked);
    expect(await close(s.server)).toBeLessThan(soon);
    await s.hasEnded("shutdown");
  });

  it("is not held by the connection of a stream that ends by itself in the meantime", async () => {
    const more = new Gate();
    const s = await stage(async function* () {
      yield "hello";
      await more.opened;
    });
    await connected(s);
    const closed = close(s.server);
    // Before anyone has looked at the server.
    more.open();
    expect(await closed).toBeLessThan(soon - 1_000);
    await s.hasEnded("shutdown", { returns: 0 });
  });

  it("is not held by connections that are kept alive after streams", async () => {
    const s = await stage(() => ["hello"]);
    await Promise.all(Array.from({ length: 5 }, () => connected(s)));
    await until(() => s.over === 5);
    expect(s.sockets.size).toBe(5);
    expect(await close(s.server)).toBeLessThan(soon - 1_000);
  });

  it("lets a stream be whose source is still being made: it is told to come back", async () => {
    const s = await stage(() => new Promise<never>(() => {}));
    const client = new RawClient(s.port).request("GET", "/");
    await until(() => s.streams.length === 1);
    expect(await close(s.server)).toBeLessThan(soon);
    expect(await client.ended()).toMatch(
      /^HTTP\/1\.1 200 OK\r\n[^]*\r\nConnection: close\r\n[^]*retry: 3000\n\n\r\n0\r\n\r\n$/i,
    );
    expect(s.summaries).toMatchObject([{ reason: "shutdown", events: 0 }]);
  });

  it("leaves the server and the process as they were", async () => {
    const s = new Stage(endless);
    const listeners = ["SIGTERM", "SIGINT", "exit", "beforeExit"].map((name) => process.listenerCount(name));
    await s.open();
    const counts = s.server.eventNames().map((name) => [name, s.server.listenerCount(name)]);
    const keys = Object.keys(s.server);
    await connected(s);
    expect(s.server.eventNames().map((name) => [name, s.server.listenerCount(name)])).toEqual(counts);
    expect(Object.keys(s.server)).toEqual(keys);
    // Not patched: `close` and the rest are those of the class.
    expect(Object.getPrototypeOf(s.server)).toBe(Server.prototype);
    expect(keys).not.toContain("close");
    expect(["SIGTERM", "SIGINT", "exit", "beforeExit"].map((name) => process.listenerCount(name))).toEqual(listeners);
  });

  it("ends the streams of sub-apps and routers", async () => {
    const reasons: string[] = [];
    const handler = eventSource(endless, { onClose: ({ reason }) => void reasons.push(reason) });
    const app = express();
    app.use("/sub", express().get("/", handler));
    app.use("/router", express.Router().get("/", handler));
    app.use("/deep", express().use("/er", express.Router().use(express().get("/", handler))));
    const { server, port } = await serve(app);
    for (const path of ["/sub", "/router", "/deep/er"]) await new RawClient(port).request("GET", path).until("hello");
    expect(await close(server)).toBeLessThan(soon);
    expect(reasons).toEqual(["shutdown", "shutdown", "shutdown"]);
  });

  it("ends the streams of its own server alone where two serve one app", async () => {
    const reasons: string[] = [];
    const app = express().get("/", eventSource(endless, { onClose: ({ reason }) => void reasons.push(reason) }));
    const one = await serve(app);
    const other = await serve(app);
    await new RawClient(one.port).request("GET", "/").until("hello");
    const client = new RawClient(other.port).request("GET", "/");
    await client.until("hello");
    expect(await close(one.server)).toBeLessThan(soon);
    expect(reasons).toEqual(["shutdown"]);
    expect(client.received).not.toContain(lastChunk);
    expect(await close(other.server)).toBeLessThan(soon);
    expect(reasons).toEqual(["shutdown", "shutdown"]);
  });

  it("leaves the streams of a server that listens again alone", async () => {
    const s = await stage(endless);
    const first = await connected(s);
    expect(await close(s.server)).toBeLessThan(soon);
    await first.ended();
    s.server.listen(s.port, "127.0.0.1");
    await once(s.server, "listening");
    const client = await connected(s);
    client.socket.destroy();
    await until(() => s.over === 2);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["shutdown", "disconnected"]);
  });

  it("ends the streams of before where the server listens again at once, and those alone", async () => {
    const s = await stage(polite, { shutdownGracePeriod: 10_000 });
    const first = await connected(s);
    s.server.close();
    s.server.listen(s.port, "127.0.0.1");
    await once(s.server, "listening");
    const second = await connected(s);
    expect(await first.ended()).toContain(`data: farewell\n\n${lastChunk}`);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["shutdown"]);
    second.socket.destroy();
    await until(() => s.over === 2);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["shutdown", "disconnected"]);
    expect(s.leakedListeners).toEqual([]);
  });

  it.each([
    ["HEAD", "HEAD", () => ["hello"], "200 OK"],
    ["a 204", "GET", () => new Promise<null>((resolve) => setTimeout(resolve, 20, null)), "204 No Content"],
    [
      "an error of a source that is still being made",
      "GET",
      () => new Promise<never>((_resolve, reject) => setTimeout(reject, 20, new Error("source"))),
      "500 Internal Server Error",
    ],
  ] as const)(
    "is not held by the connection of %s that is answered just after it",
    async (_what, method, source, status) => {
      // Longer than a client would wait, were the connection kept alive.
      const http = createServer({ keepAliveTimeout: 60_000 });
      let closed: Promise<number> | undefined;
      const closeServer: RequestHandler = (_req, _res, next) => {
        closed ??= close(http);
        next();
      };
      const closing = (): ReturnType<typeof source> => {
        closed ??= close(http);
        return source();
      };
      const s = await stage(closing, {}, method === "HEAD" ? [closeServer] : [], http);
      const client = new RawClient(s.port).request(method, "/");
      expect(await client.ended()).toContain(`HTTP/1.1 ${status}\r\n`);
      expect(client.received).toMatch(/\r\nConnection: close\r\n/i);
      expect(await closed).toBeLessThan(soon);
    },
  );

  it("leaves streams alone where endOnServerClose is false", async () => {
    const more = new Gate();
    const s = await stage(
      async function* (_req, { shutdown }) {
        yield "hello";
        await more.opened;
        yield `shutdown has ${shutdown.aborted ? "" : "not "}begun`;
      },
      { endOnServerClose: false },
    );
    const client = await connected(s);
    let isClosed = false;
    s.server.close(() => (isClosed = true));
    // Twice the time in which the others look at the server.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect([isClosed, s.over]).toEqual([false, 0]);
    more.open();
    await client.until(`data: shutdown has not begun\n\n`);
    await s.hasEnded("completed", { returns: 0 });
  });
});

/** A request whose end is still to come: one that has not begun is closed with its server. Returns what sends the rest. */
async function beginRequest(
  s: Stage,
  client: RawClient,
  connection: "connection" | "secureConnection",
): Promise<() => void> {
  const [socket] = (await once(s.server, connection)) as [Socket];
  client.socket.write("GET / HTTP/1.1\r\n");
  await until(() => socket.bytesRead > 0);
  return () => client.socket.write("Host: 127.0.0.1\r\n\r\n");
}

describe("a stream that arrives while its server closes", () => {
  const transports = {
    http: {
      server: () => createServer(),
      connection: "connection" as const,
      client: (s: Stage) => new RawClient(s.port),
    },
    https: {
      server: tlsServer,
      connection: "secureConnection" as const,
      client: (s: Stage) => new RawClient(s.port, tlsConnection(s.port)),
    },
  };

  for (const [name, { server, connection, client }] of Object.entries(transports)) {
    for (const [retry, sent] of [
      [undefined, 3_000],
      [777, 777],
      [() => 888, 888],
    ] as const) {
      it(`is the server's first, and is answered with 200, retry: ${sent} and the end (${name})`, async () => {
        const s = await stage(endless, retry === undefined ? {} : { retry }, [], await server());
        const c = client(s);
        const finish = await beginRequest(s, c, connection);
        const closed = close(s.server);
        finish();
        expect(await c.ended()).toMatch(
          new RegExp(`^HTTP/1.1 200 OK\r\n[^]*\r\nConnection: close\r\n[^]*retry: ${sent}\n\n\r\n0\r\n\r\n$`, "i"),
        );
        expect(c.received).toContain("Content-Type: text/event-stream");
        expect(await closed).toBeLessThan(soon - 1_000);
        expect(s.streams).toEqual([]);
        expect(s.summaries).toMatchObject([{ reason: "shutdown", events: 0 }]);
      });
    }

    it(`is ended with the others (${name})`, async () => {
      const s = await stage(polite, { shutdownGracePeriod: 10_000 }, [], await server());
      const open = client(s).request("GET", "/");
      await open.until("hello");
      const late = client(s);
      const finish = await beginRequest(s, late, connection);
      const closed = close(s.server);
      finish();
      await late.until("retry: 3000");
      expect(await open.ended()).toContain(`data: farewell\n\n${lastChunk}`);
      expect(await closed).toBeLessThan(10_000);
    });
  }

  it("is answered as ever where endOnServerClose is false", async () => {
    const s = await stage(endless, { endOnServerClose: false });
    const client = new RawClient(s.port);
    const finish = await beginRequest(s, client, "connection");
    s.server.close();
    finish();
    await client.until("hello");
    client.socket.destroy();
    await s.hasEnded("disconnected");
  });
});

describe("shutdownSignal", () => {
  it("ends all streams by hand, with one listener for all of them", async () => {
    const controller = new AbortController();
    const s = await stage(polite, { shutdownSignal: controller.signal, shutdownGracePeriod: 10_000 });
    const clients = await Promise.all(Array.from({ length: 20 }, () => connected(s)));
    expect(getEventListeners(controller.signal, "abort").length).toBe(1);
    controller.abort();
    for (const client of clients) expect(await client.ended()).toContain(`data: farewell\n\n${lastChunk}`);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(Array(20).fill("shutdown"));
    expect(s.server.listening).toBe(true);
    await until(() => s.sockets.size === 0);
    expect(s.leakedListeners).toEqual([]);
  });

  it("keeps no listener when the last stream has gone, and has one again with the next", async () => {
    const { signal } = new AbortController();
    const s = await stage(endless, { shutdownSignal: signal });
    for (let round = 1; round <= 2; round++) {
      const clients = [await connected(s), await connected(s)];
      expect(getEventListeners(signal, "abort").length).toBe(1);
      for (const client of clients) client.socket.destroy();
      await until(() => s.over === 2 * round);
      expect(getEventListeners(signal, "abort").length).toBe(0);
    }
  });

  it("tells a stream that comes later to come back", async () => {
    const s = await stage(endless, { shutdownSignal: AbortSignal.abort() });
    const client = new RawClient(s.port).request("GET", "/");
    expect(await client.ended()).toMatch(
      /^HTTP\/1\.1 200 OK\r\n[^]*\r\nConnection: close\r\n[^]*retry: 3000\n\n\r\n0\r\n\r\n$/i,
    );
    expect(s.streams).toEqual([]);
  });

  it("ends streams for a terminator that closes the server only when every connection has gone", async () => {
    const controller = new AbortController();
    const s = await stage(polite, { shutdownSignal: controller.signal, shutdownGracePeriod: 10_000 });
    const clients = await Promise.all([connected(s), connected(s)]);
    // As http-terminator does: it waits for the connections, cuts those that stay too long, and calls close() last.
    controller.abort();
    for (const client of clients) expect(await client.ended()).toContain(`data: farewell\n\n${lastChunk}`);
    await until(() => s.sockets.size === 0);
    expect(s.server.listening).toBe(true);
    expect(await close(s.server)).toBeLessThan(soon);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["shutdown", "shutdown"]);
  });

  it("takes no harm from a function that has begun an answer of its own", async () => {
    const controller = new AbortController();
    const s = await stage(
      (_req, { response }) => {
        response.write("an answer of its own");
        return new Promise<never>(() => {});
      },
      { shutdownSignal: controller.signal },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("an answer of its own");
    controller.abort();
    await until(() => s.over === 1);
    expect(s.passedOn).toEqual([]);
  });

  it("works beside server.close(), whichever comes first", async () => {
    const controller = new AbortController();
    const s = await stage(polite, { shutdownSignal: controller.signal, shutdownGracePeriod: 10_000 });
    const client = await connected(s);
    const closed = close(s.server);
    controller.abort();
    expect((await client.ended()).match(/farewell/g)?.length).toBe(1);
    expect(await closed).toBeLessThan(10_000);
    await s.hasEnded("shutdown", { returns: 0 });
  });

  it("serves several handlers, and those with another signal not", async () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const summaries: Record<string, StreamSummary[]> = { a: [], b: [], c: [] };
    const app = express();
    const route = (name: string, options: EventSourceOptions): void =>
      void app.get(
        `/${name}`,
        eventSource(endless, { ...options, onClose: (summary) => void summaries[name]?.push(summary) }),
      );
    route("a", { shutdownSignal: one.signal });
    route("b", { shutdownSignal: one.signal });
    route("c", { shutdownSignal: other.signal });
    const { port } = await serve(app);
    const clients = ["a", "b", "c"].map((name) => new RawClient(port).request("GET", `/${name}`));
    for (const client of clients) await client.until("hello");
    expect(getEventListeners(one.signal, "abort").length).toBe(1);
    one.abort();
    await Promise.all([clients[0]?.ended(), clients[1]?.ended()]);
    expect(Object.values(summaries).map(({ length }) => length)).toEqual([1, 1, 0]);
  });
});

describe("the timers of a shutdown", () => {
  fakeTimers();

  it("end with a stream that says its farewell before the grace period is over", async () => {
    const controller = new AbortController();
    const s = await stage(polite, { shutdownSignal: controller.signal, shutdownGracePeriod: 60_000 });
    const client = await connected(s);
    controller.abort();
    await client.until("farewell");
    await s.hasEnded("shutdown", { returns: 0 });
  });

  it("end with a stream that has been ended after the grace period", async () => {
    const controller = new AbortController();
    const s = await stage(endless, { shutdownSignal: controller.signal, shutdownGracePeriod: 60_000 });
    const client = await connected(s);
    controller.abort();
    // A busy machine may have spent this turn of the loop.
    while (s.streams[0]?.shutdown.aborted !== true) await turn();
    vi.advanceTimersByTime(59_999);
    expect(s.streams[0]?.signal.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    await client.until(lastChunk);
    await s.hasEnded("shutdown");
  });
});

it("does not take a server that never listens, and is handed its connections, for one that closes", async () => {
  const http = createServer();
  const app = express().get("/", eventSource(polite));
  http.on("request", app);
  const front = createNetServer((socket) => void http.emit("connection", socket));
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void front.close());
  const client = new RawClient((front.address() as AddressInfo).port).request("GET", "/");
  await client.until("hello");
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(client.received).not.toMatch(/farewell|retry/);
  client.socket.destroy();
});
