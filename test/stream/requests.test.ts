import express from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { failOnWarnings, fakeTimers, Gate, stage, turn, until, failOnAbort } from "../support/stage.js";

failOnWarnings();
fakeTimers();
afterEach(() => void vi.restoreAllMocks());

/** Yields once before and once after `more`, then waits until it is let go. */
function twice(more: Gate) {
  return async function* (_req: unknown, { signal }: { signal: AbortSignal }) {
    yield "first";
    await more.opened;
    yield "second";
    await failOnAbort(signal);
  };
}

const json = { "Content-Type": "application/json" };

describe("a stream that answers a POST", () => {
  it("goes on after its body has been parsed, and ends when the client leaves", async () => {
    const more = new Gate();
    const s = await stage(twice(more), {}, [express.json()]);
    const client = new RawClient(s.port).request("POST", "/", json, '{"prompt":"hello"}');
    await client.until("first");
    more.open();
    await client.until("second");
    expect(s.over).toBe(0);
    client.socket.destroy();
    await s.hasEnded("disconnected");
  });

  it("goes on while its small body lies unread, and ends when the client leaves", async () => {
    const more = new Gate();
    const s = await stage(twice(more));
    const client = new RawClient(s.port).request("POST", "/", {}, "unread");
    await client.until("first");
    more.open();
    await client.until("second");
    client.socket.destroy();
    await s.hasEnded("disconnected");
  });

  it("finds out by its pings that the client has left behind a large body that nobody reads", async () => {
    const more = new Gate();
    const s = await stage(twice(more), { pingInterval: 1_000 });
    const client = new RawClient(s.port).request("POST", "/", {}, "x".repeat(5_000_000));
    await client.until("first");
    more.open();
    await client.until("second");
    client.socket.resetAndDestroy();
    // Node does not look at a socket whose body is not read: only a write shows that it is closed.
    await until(() => {
      vi.advanceTimersByTime(1_000);
      return s.over === 1;
    });
    await s.hasEnded("disconnected");
  });

  it("can read its own large body as it comes", async () => {
    const s = await stage(async function* (req) {
      let bytes = 0;
      for await (const chunk of req) bytes += (chunk as Buffer).length;
      yield { event: "bytes", data: bytes };
    });
    const client = new RawClient(s.port).request("POST", "/", {}, "x".repeat(3_000_000));
    await client.until("event: bytes\ndata: 3000000\n\n");
    await until(() => s.over === 1);
    expect(s.summaries).toMatchObject([{ reason: "completed", events: 1 }]);
  });

  it("leaves a connection that can be used again", async () => {
    const s = await stage(() => ["only"]);
    const client = new RawClient(s.port).request("POST", "/", {}, "unread");
    await client.until("only");
    await until(() => s.over === 1);
    await s.leavesNothing();
    client.received = "";
    client.request("GET", "/");
    await client.until("only");
    expect(s.sockets.size).toBe(1);
  });
});

describe("maxDuration", () => {
  const idle = async function* (_req: unknown, { signal }: { signal: AbortSignal }) {
    yield "hello";
    await failOnAbort(signal);
  };

  for (const [random, at] of [
    [0, 900],
    [0.5, 950],
    [0.99, 999],
  ] as const) {
    it(`ends an idle stream in its last tenth, at a moment of chance (${random})`, async () => {
      vi.spyOn(Math, "random").mockReturnValue(random);
      const s = await stage(idle, { maxDuration: 1_000, pingInterval: false });
      const client = new RawClient(s.port).request("GET", "/");
      await client.until("hello");
      vi.advanceTimersByTime(at - 2);
      await turn();
      expect(s.summaries).toEqual([]);
      vi.advanceTimersByTime(2);
      // Ended, not cut.
      await client.until("\r\n0\r\n\r\n");
      await s.hasEnded("expired");
      expect(s.passedOn).toEqual([]);
    });
  }

  it("ends a busy stream", async () => {
    const s = await stage(
      async function* () {
        for (let n = 0; ; n++) yield n;
      },
      { maxDuration: 1_000, pingInterval: false },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: 99\n\n");
    vi.advanceTimersByTime(1_000);
    await client.until("\r\n0\r\n\r\n");
    await s.hasEnded("expired");
  });

  it("changes nothing for a stream whose source has ended, and whose client still takes what is left", async () => {
    const s = await stage(
      async function* (_req, { response }) {
        while (response.writableLength === 0) {
          yield "x".repeat(10_000);
          await turn();
        }
      },
      { maxDuration: 1_000, sendTimeout: 10_000, pingInterval: false },
    );
    const client = new RawClient(s.port).request("GET", "/").forget();
    await client.until("x");
    client.socket.pause();
    await until(() => s.streams[0]?.response.writableEnded === true);
    vi.advanceTimersByTime(1_000);
    client.socket.resume();
    await client.until("\r\n0\r\n\r\n");
    await s.hasEnded("completed", { returns: 0 });
  });

  it("cuts a client that takes nothing, and says that its time was over", async () => {
    const s = await stage(
      async function* () {
        for (;;) yield "x".repeat(100_000);
      },
      { maxDuration: 1_000, sendTimeout: 5_000, pingInterval: false },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    vi.advanceTimersByTime(1_000);
    await until(() => s.streams[0]?.signal.aborted === true);
    // What is left for it is bounded by sendTimeout.
    await until(() => {
      vi.advanceTimersByTime(1_000);
      return s.over === 1;
    });
    await s.hasEnded("expired");
  });
});
