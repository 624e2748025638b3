import type { RequestHandler } from "express";
import { createServer } from "node:http";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import {
  failOnAbort,
  failOnWarnings,
  fakeTimers,
  Gate,
  type Stage,
  stage,
  standsStill,
  turn,
  until,
} from "../support/stage.js";
import { tlsConnection, tlsServer } from "../support/tls.js";

failOnWarnings();

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

function memory(): number {
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const MB = 1_000_000;

const transports = {
  http: { server: () => createServer(), client: (s: Stage) => new RawClient(s.port) },
  https: { server: tlsServer, client: (s: Stage) => new RawClient(s.port, tlsConnection(s.port)) },
};

for (const [name, { server, client }] of Object.entries(transports)) {
  describe(`a client that reads nothing (${name})`, () => {
    fakeTimers();

    it("costs the server little of what the source could yield, and is cut after sendTimeout", async () => {
      let asked = 0;
      let cleaned = 0;
      const chunk = "x".repeat(50_000);
      const s = await stage(
        async function* () {
          try {
            // Up to 200 MB, each string with memory of its own.
            for (; asked < 4_000; asked++) yield `${asked} ${chunk}`.toUpperCase();
          } finally {
            cleaned += 1;
          }
        },
        { sendTimeout: 4_000, pingInterval: 100 },
        [],
        await server(),
      );
      const c = client(s).request("GET", "/");
      const before = memory();
      await c.until("data: ");
      c.socket.pause();
      await standsStill(() => asked);
      vi.advanceTimersByTime(3_000);
      expect(s.over).toBe(0);
      expect(memory() - before).toBeLessThan(16 * MB);
      // With what the system's own buffers have taken.
      expect(asked * chunk.length).toBeLessThan(32 * MB);
      vi.advanceTimersByTime(3_000);
      const summary = await s.hasEnded("timeout");
      expect(cleaned).toBe(1);
      expect(s.passedOn).toEqual([]);
      expect(summary.bytes).toBeGreaterThanOrEqual((asked - 1) * chunk.length);
      await until(() => s.sockets.size === 0);
    });

    it("is cut after sendTimeout when its source has ended, too", async () => {
      const s = await stage(
        async function* () {
          yield "x".repeat(20 * MB);
        },
        { sendTimeout: 4_000 },
        [],
        await server(),
      );
      const c = client(s).request("GET", "/");
      await c.until("data: ");
      c.socket.pause();
      await standsStill(() => [...s.sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0));
      expect(s.summaries).toEqual([]);
      vi.advanceTimersByTime(6_000);
      await s.hasEnded("timeout");
    });

    it("is not cut while it takes any of one large frame", async () => {
      const s = await stage(
        () => ["x".repeat(60 * MB), "the end"],
        { sendTimeout: 4_000, pingInterval: false },
        [],
        await server(),
      );
      const c = client(s).request("GET", "/");
      await c.until("data: x");
      c.forget();
      const [socket] = s.sockets as Set<unknown> as Set<{ _handle: { writeQueueSize: number } }>;
      for (let round = 1; round <= 8; round++) {
        c.socket.pause();
        vi.advanceTimersByTime(3_000);
        expect(s.over).toBe(0);
        // The client reads until the system takes more from the server; the system itself may hold dozens of megabytes.
        const left = socket?._handle.writeQueueSize;
        c.socket.resume();
        await until(() => socket?._handle.writeQueueSize !== left);
      }
      c.socket.resume();
      await c.until("data: the end");
      await s.hasEnded("completed", { returns: 0 });
    });
  });
}

describe("with fake timers", () => {
  fakeTimers();

  it("sends pings to a client that reads nothing until its socket is full, and cuts it then", async () => {
    let pings = 0;
    const s = await stage(
      async function* (_req, { signal }) {
        yield "hello";
        await failOnAbort(signal);
      },
      {
        sendTimeout: 20_000,
        pingInterval: 1_000,
        ping: () => {
          pings += 1;
          return { comment: "x".repeat(MB) };
        },
      },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("hello");
    client.socket.pause();
    for (let second = 0; s.over === 0; second++) {
      expect(second).toBeLessThan(100);
      vi.advanceTimersByTime(1_000);
      await turn();
    }
    expect(pings).toBeLessThan(30);
    await s.hasEnded("timeout");
  });

  it("does not take its own small pings for a sign of life", async () => {
    const s = await stage(
      async function* (_req, { signal, response }) {
        // Until the system takes no more; what is left leaves room for thousands of pings.
        while (response.writableLength === 0) {
          yield "x".repeat(10_000);
          await turn();
        }
        filled.open();
        await failOnAbort(signal);
      },
      { sendTimeout: 4_000, pingInterval: 900 },
    );
    const filled = new Gate();
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    await filled.opened;
    for (let n = 0; n < 10; n++) {
      vi.advanceTimersByTime(900);
      await turn();
    }
    await s.hasEnded("timeout");
  });

  it("sends the ping that was due when there is room again", async () => {
    let pings = 0;
    let asked = 0;
    const s = await stage(
      async function* () {
        for (; asked < 500; asked++) yield "x".repeat(50_000);
      },
      {
        sendTimeout: false,
        pingInterval: 1_000,
        ping: () => {
          pings += 1;
          return { comment: "a ping that was due" };
        },
      },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    await standsStill(() => asked);
    for (let n = 0; n < 10; n++) vi.advanceTimersByTime(1_000);
    expect(pings).toBe(0);
    client.socket.resume();
    await client.until(": a ping that was due\n\n");
    client.forget();
    await s.hasEnded("completed", { returns: 0 });
    expect(pings).toBe(1);
  });

  it("never cuts a client where sendTimeout is false", async () => {
    let asked = 0;
    const s = await stage(
      async function* () {
        for (;;) {
          asked += 1;
          yield "x".repeat(50_000);
        }
      },
      { sendTimeout: false },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    await standsStill(() => asked);
    vi.advanceTimersByTime(1_000_000);
    expect(s.over).toBe(0);
    client.socket.destroy();
    await s.hasEnded("disconnected");
  });

  it("does not cut a client that could take nothing, because a middleware still works on what it was given", async () => {
    let release!: () => void;
    const source = async function* () {
      yield "one";
      await turn();
      yield "two";
    };
    const s = await stage(source, { sendTimeout: 1_000, pingInterval: false }, [
      (_req, res, next) => {
        const write = res.write.bind(res) as (chunk: unknown) => boolean;
        res.write = (chunk: unknown) => {
          release = () => {
            res.write = write;
            write(chunk);
            res.emit("drain");
          };
          return false;
        };
        next();
      },
    ]);
    const client = new RawClient(s.port).request("GET", "/");
    await until(() => release !== undefined);
    vi.advanceTimersByTime(10_000);
    expect(s.over).toBe(0);
    release();
    await client.until("data: two\n\n");
    await s.hasEnded("completed", { returns: 0 });
  });

  it("does not wait for ever for a middleware that holds back the end, such as a session whose store never answers", async () => {
    const s = await stage(() => ["hello"], { sendTimeout: 1_000 }, [
      (_req, res, next) => {
        const end = res.end.bind(res);
        res.end = () => {
          res.end = end;
          return res;
        };
        next();
      },
    ]);
    await new RawClient(s.port).request("GET", "/").until("hello");
    await turn();
    vi.advanceTimersByTime(2_000);
    await s.hasEnded("timeout", { returns: 0 });
  });

  it("does not cut a pipelined stream that waits for its turn", async () => {
    const first = new Gate();
    let n = 0;
    const s = await stage(
      async function* () {
        if (n++ === 0) {
          yield "one";
          await first.opened;
        } else {
          for (let i = 0; i < 20; i++) yield `two ${i} ${"x".repeat(10_000)}`;
        }
      },
      { sendTimeout: 1_000, pingInterval: false },
    );
    const client = new RawClient(s.port).request("GET", "/").request("GET", "/");
    await until(() => s.begun === 2);
    await client.until("one");
    vi.advanceTimersByTime(10_000);
    expect(s.over).toBe(0);
    first.open();
    await client.until("two 19");
    await until(() => s.over === 2);
    expect(s.summaries.map(({ reason }) => reason)).toEqual(["completed", "completed"]);
    await s.leavesNothing();
  });
});

it("goes on where there was room again before the source had its next item", async () => {
  const s = await stage(async function* () {
    for (let n = 0; n < 50; n++) {
      // With its "data: " and line ends a little too short to be sent at once; with what chunks it, enough to fill the socket.
      yield "x".repeat(16_380 - 8);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  const client = new RawClient(s.port).request("GET", "/").forget();
  await client.until("\r\n0\r\n\r\n");
  await s.hasEnded("completed", { returns: 0 });
});

it("lets timers and other connections have their turns beside sources that are always ready", async () => {
  const s = await stage(async function* () {
    for (let n = 0; ; n++) yield n;
  });
  s.app.get("/other", (_req, res) => void res.send("answered"));
  const clients = Array.from({ length: 5 }, () => new RawClient(s.port).request("GET", "/"));
  await Promise.all(clients.map((client) => client.until("data: 0\n\n")));
  for (const client of clients) client.forget();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (let n = 0; n < 20; n++) expect(await (await fetch(`${s.url}/other`)).text()).toBe("answered");
  await new Promise((resolve) => setTimeout(resolve, 300));
  delay.disable();
  // Against starving, not a measure: the clients and the test itself use the same loop. The machine may stand still once.
  expect(delay.percentile(50) / 1e6).toBeLessThan(1_000);
  for (const client of clients) client.socket.destroy();
  await until(() => s.over === 5);
});

it("answers other requests after few items of its sources, however many of those are always ready", async () => {
  let items = 0;
  const s = await stage(async function* () {
    for (;;) {
      items += 1;
      const end = performance.now() + 1;
      while (performance.now() < end);
      yield items;
    }
  });
  s.app.get("/other", (_req, res) => void res.send(`answered`));
  const clients = Array.from({ length: 200 }, () => new RawClient(s.port).request("GET", "/").forget());
  await until(() => s.begun === 200);
  const counts: number[] = [];
  for (let n = 0; n < 3; n++) {
    const before = items;
    expect(await (await fetch(`${s.url}/other`)).text()).toBe("answered");
    counts.push(items - before);
  }
  // Ten for each turn of the loop that the request needs, where it would be two hundred.
  expect(Math.min(...counts)).toBeLessThan(200);
  for (const client of clients) client.socket.destroy();
  await until(() => s.over === 200);
});

it("asks for no item while there is no room, also where the socket filled up while the source yielded to the loop", async () => {
  let asked = 0;
  let askedBefore = 0;
  const s = await stage(
    async function* () {
      for (;;) {
        asked += 1;
        // Longer than what all streams may work in one turn.
        const end = performance.now() + 15;
        while (performance.now() < end);
        yield asked;
      }
    },
    {},
    [
      (_req, res, next) => {
        const write = res.write.bind(res) as (chunk: unknown) => boolean;
        res.write = (chunk: unknown) => {
          askedBefore = asked;
          return write(chunk) && false;
        };
        next();
      },
    ],
  );
  const client = new RawClient(s.port).request("GET", "/");
  await client.until("data: 1\n\n");
  for (let n = 0; n < 5; n++) await turn();
  expect(asked).toBe(askedBefore);
  client.socket.destroy();
  await s.hasEnded("disconnected");
});

describe("a middleware whose write returns nothing", () => {
  const forgetful: RequestHandler = (_req, res, next) => {
    const write = res.write.bind(res) as (chunk: unknown) => boolean;
    res.write = ((chunk: unknown) => void write(chunk)) as unknown as typeof res.write;
    next();
  };

  it("does not stall the stream", async () => {
    const s = await stage(
      async function* () {
        for (let n = 0; n < 5; n++) {
          yield n;
          await turn();
        }
      },
      {},
      [forgetful],
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: 4\n\n");
    await s.hasEnded("completed", { returns: 0 });
  });

  it("does not hide that the client reads nothing", async () => {
    let asked = 0;
    const s = await stage(
      async function* () {
        for (; asked < 4_000; asked++) yield "x".repeat(50_000);
      },
      { sendTimeout: 400 },
      [forgetful],
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    await s.hasEnded("timeout");
    expect(asked).toBeLessThan(1_000);
  });
});
