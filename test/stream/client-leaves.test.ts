import type { EventStream } from "express-event-source";
import express, { type Request } from "express";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { failOnAbort, failOnWarnings, fakeTimers, Gate, stage, standsStill, until } from "../support/stage.js";

failOnWarnings();
fakeTimers();

const frame = "x".repeat(60_000);

let lettingGo = 0;
let wake = (): void => {};
beforeEach(() => {
  lettingGo = 0;
});

/** What a source may be doing at the moment when its client leaves. */
const sources: Record<string, (req: Request, stream: EventStream) => AsyncGenerator<unknown>> = {
  async *"is suspended at a yield"() {
    try {
      for (let n = 0; ; n++) yield n;
    } finally {
      lettingGo += 1;
    }
  },
  async *"awaits with the signal"(_req, { signal }) {
    try {
      yield "first";
      await failOnAbort(signal);
    } finally {
      lettingGo += 1;
    }
  },
  async *"awaits without the signal"() {
    try {
      yield "first";
      await new Promise<void>((resolve) => (wake = resolve));
      yield "too late";
    } finally {
      lettingGo += 1;
    }
  },
};

const ways: Record<string, (client: RawClient) => void> = {
  "closes its connection": ({ socket }) => socket.destroy(),
  "resets its connection": ({ socket }) => socket.resetAndDestroy(),
  "closes its half of the connection": ({ socket }) => socket.end(),
};

for (const [doing, source] of Object.entries(sources)) {
  describe(`a source that ${doing}`, () => {
    for (const [leaves, leave] of Object.entries(ways)) {
      it(`is let go when the client ${leaves}`, async () => {
        const s = await stage(source, { pingInterval: 1_000, maxDuration: 60_000 });
        const client = new RawClient(s.port).request("GET", "/");
        await client.until("data: ");
        leave(client);
        await s.hasEnded("disconnected");
        wake();
        await until(() => lettingGo === 1);
        expect(s.passedOn).toEqual([]);
        await until(() => s.sockets.size === 0);
      });
    }
  });
}

describe("a source whose client reads nothing", () => {
  async function* source(): AsyncGenerator<string> {
    try {
      for (;;) yield frame;
    } finally {
      lettingGo += 1;
    }
  }

  async function blocked() {
    let asked = 0;
    const s = await stage(
      async function* () {
        for await (const item of source()) {
          asked += 1;
          yield item;
        }
      },
      { pingInterval: 1_000, sendTimeout: 20_000 },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    // Blocked when no item more is asked for.
    await standsStill(() => asked);
    return { s, client };
  }

  it("is let go when the client closes its connection", async () => {
    const { s, client } = await blocked();
    client.socket.destroy();
    await s.hasEnded("disconnected");
    expect(lettingGo).toBe(1);
  });

  it("is let go when the client resets its connection", async () => {
    const { s, client } = await blocked();
    client.socket.resetAndDestroy();
    await s.hasEnded("disconnected");
    expect(lettingGo).toBe(1);
  });

  it("is let go when the client closes its half of the connection and reads on", async () => {
    const { s, client } = await blocked();
    client.socket.end();
    client.socket.resume();
    await s.hasEnded("disconnected");
    expect(lettingGo).toBe(1);
  });

  it("is let go by sendTimeout when the client closes its half of the connection and never reads again", async () => {
    const { s, client } = await blocked();
    client.socket.end();
    await until(() => [...s.sockets].every((socket) => socket.writableEnded));
    vi.advanceTimersByTime(26_000);
    await s.hasEnded("timeout");
    expect(lettingGo).toBe(1);
  });
});

it("does not start the source of a client that left before the handler was called", async () => {
  const gone = new Gate();
  const s = await stage(
    async function* () {
      yield 1;
    },
    {},
    [
      (req, _res, next) => {
        req.socket.on("close", () => {
          next();
          gone.open();
        });
      },
    ],
  );
  const client = new RawClient(s.port).request("GET", "/");
  await until(() => s.sockets.size === 1);
  client.socket.resetAndDestroy();
  await gone.opened;
  await until(() => s.over === 1);
  expect(s.streams).toEqual([]);
  expect(s.summaries).toEqual([]);
  expect(s.passedOn).toEqual([]);
  await s.leavesNothing();
});

it("lets a source go that is still being made when the client leaves", async () => {
  const made = new Gate<AsyncGenerator<string>>();
  const s = await stage(() => made.opened);
  const client = new RawClient(s.port).request("GET", "/");
  await until(() => s.streams.length === 1);
  client.socket.destroy();
  await until(() => s.over === 1);
  expect(s.streams[0]?.signal.reason).toBe("disconnected");
  // No head has been sent.
  expect(s.summaries).toEqual([]);
  made.open(
    (async function* () {
      yield "too late";
    })(),
  );
  await until(() => s.returns === 1);
  await s.leavesNothing();
});

it("ends the stream, and starts none that waits behind it, when the client leaves", async () => {
  const s = await stage(async function* (_req, { signal }) {
    yield "hello";
    await failOnAbort(signal);
  });
  const client = new RawClient(s.port).request("GET", "/").request("GET", "/");
  await until(() => s.begun === 2);
  await client.until("hello");
  client.socket.destroy();
  await until(() => s.over === 2);
  expect(s.summaries.map(({ reason }) => reason)).toEqual(["disconnected"]);
  expect(s.streams.length).toBe(1);
  expect(s.returns).toBe(1);
  await s.leavesNothing();
});

it("starts no pipelined stream, either, whose body was parsed before the client left", async () => {
  const s = await stage(
    async function* (_req, { signal }) {
      yield "hello";
      await failOnAbort(signal);
    },
    {},
    [express.json()],
  );
  const json = { "Content-Type": "application/json" };
  const client = new RawClient(s.port).request("POST", "/", json, "{}").request("POST", "/", json, "{}");
  await until(() => s.begun === 2);
  await client.until("hello");
  client.socket.destroy();
  await until(() => s.over === 2);
  expect(s.summaries.map(({ reason }) => reason)).toEqual(["disconnected"]);
  await s.leavesNothing();
});

it("lets a pipelined stream follow when the one before has ended", async () => {
  let n = 0;
  const first = new Gate();
  const s = await stage(async function* () {
    if (n++ === 0) {
      yield "one";
      await first.opened;
    } else {
      for (let i = 0; i < 100; i++) yield `two ${i} ${"x".repeat(1_000)}`;
    }
  });
  const client = new RawClient(s.port).request("GET", "/").request("GET", "/");
  await until(() => s.begun === 2);
  await client.until("one");
  expect(client.received).not.toContain("two");
  first.open();
  await client.until("two 99");
  await until(() => s.over === 2);
  expect(s.summaries.map(({ reason }) => reason)).toEqual(["completed", "completed"]);
  await s.leavesNothing();
});
