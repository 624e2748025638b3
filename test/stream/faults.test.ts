import type { EventSourceOptions } from "express-event-source";
import { describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { failOnWarnings, fakeTimers, Gate, type Stage, stage, turn, until, failOnAbort } from "../support/stage.js";

failOnWarnings();
fakeTimers();

const boom = new Error("boom: a secret of the server's");

/** Yields one item, and the next when `more` opens; then waits. */
function two(more: Gate, second: unknown = "second") {
  return async function* (_req: unknown, { signal }: { signal: AbortSignal }) {
    yield "first";
    await more.opened;
    yield second;
    await failOnAbort(signal);
  };
}

/** What can fail after the head, and how. `returns` is 0 where the iterator ends by failing. */
const failures: Record<
  string,
  {
    source?: (more: Gate) => (req: unknown, stream: { signal: AbortSignal }) => AsyncGenerator<unknown>;
    options?: EventSourceOptions<never>;
    returns: number;
    error?: unknown;
    pings?: boolean;
  }
> = {
  "the source throws": {
    source: (more) =>
      async function* () {
        yield "first";
        await more.opened;
        throw boom;
      },
    returns: 0,
  },
  "toEvent throws": {
    options: {
      toEvent: (value: unknown) => {
        if (value === "second") throw boom;
        return { data: value };
      },
    },
    returns: 1,
  },
  "serialize throws": {
    source: (more) => two(more, { data: {} }),
    options: {
      serialize: () => {
        throw boom;
      },
    },
    returns: 1,
    error: expect.objectContaining({ code: "ERR_UNSERIALIZABLE_DATA", cause: boom }),
  },
  "an item is no event": {
    source: (more) => two(more, null),
    returns: 1,
    error: expect.objectContaining({ code: "ERR_INVALID_ITEM" }),
  },
  "a ping throws": {
    options: {
      pingInterval: 1_000,
      ping: () => {
        throw boom;
      },
    },
    returns: 1,
    pings: true,
  },
  "a ping is no event": {
    options: { pingInterval: 1_000, ping: () => ({ dada: 1 }) as never },
    returns: 1,
    pings: true,
    error: expect.objectContaining({ code: "ERR_UNKNOWN_FIELD" }),
  },
};

async function failing(
  { source = two, options, pings = false }: (typeof failures)[string],
  more: EventSourceOptions<never> = {},
): Promise<{ s: Stage; client: RawClient }> {
  const gate = new Gate();
  const s = await stage(source(gate), { ...options, ...more });
  const client = new RawClient(s.port).request("GET", "/");
  await client.until("data: first\n\n");
  if (pings) vi.advanceTimersByTime(1_000);
  else gate.open();
  return { s, client };
}

describe("after the head", () => {
  for (const [name, failure] of Object.entries(failures)) {
    const error = failure.error ?? boom;

    it(`cuts the connection and passes the error on, once, when ${name}`, async () => {
      const { s, client } = await failing(failure);
      const received = await client.ended();
      expect(received).not.toContain("\r\n0\r\n\r\n");
      expect(received).not.toContain("boom");
      const summary = await s.hasEnded("error", failure);
      expect(summary.error).toEqual(error);
      expect(s.passedOn).toEqual([error]);
      await until(() => s.sockets.size === 0);
    });

    it(`sends what onError has to say, and ends, when ${name}`, async () => {
      const { s, client } = await failing(failure, { onError: () => ({ event: "failed", data: "sorry" }) });
      await client.until("event: failed\ndata: sorry\n\n\r\n0\r\n\r\n");
      expect(client.received).not.toContain("boom");
      const summary = await s.hasEnded("error", failure);
      expect(summary.error).toEqual(error);
      expect(s.passedOn).toEqual([]);
    });
  }

  it("tells onError the error and the stream, whose signal still runs", async () => {
    const seen: unknown[] = [];
    const { s, client } = await failing(failures["the source throws"] as never, {
      onError: (error, { signal }) => {
        seen.push(error, signal.aborted);
        return undefined;
      },
    });
    await client.ended();
    await s.hasEnded("error", { returns: 0 });
    expect(seen).toEqual([boom, false]);
  });

  for (const [name, onError, second] of [
    [
      "throws",
      () => {
        throw new Error("a second secret");
      },
      expect.objectContaining({ message: "a second secret" }),
    ],
    [
      "returns what is no event",
      () => ({ message: "oops" }) as never,
      expect.objectContaining({ code: "ERR_UNKNOWN_FIELD" }),
    ],
  ] as const) {
    it(`cuts the connection and passes both errors on, at once, when onError ${name}`, async () => {
      const { s, client } = await failing(failures["the source throws"] as never, { onError });
      expect(await client.ended()).not.toMatch(/secret|boom/);
      await s.hasEnded("error", { returns: 0 });
      expect(s.passedOn).toEqual([expect.any(AggregateError)]);
      expect((s.passedOn[0] as AggregateError).errors).toEqual([boom, second]);
    });
  }

  it("passes on what onClose throws, and disturbs nothing else", async () => {
    const s = await stage(() => ["only"], {
      onClose: () => {
        throw boom;
      },
    });
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: only\n\n\r\n0\r\n\r\n");
    await s.hasEnded("completed", { returns: 0 });
    expect(s.passedOn).toEqual([boom]);
  });

  it("passes on the stream's own error and onClose's together", async () => {
    const later = new Error("later");
    const { s, client } = await failing(failures["the source throws"] as never, {
      onClose: () => {
        throw later;
      },
    });
    await client.ended();
    await s.hasEnded("error", { returns: 0 });
    expect((s.passedOn[0] as AggregateError).errors).toEqual([boom, later]);
    expect(s.passedOn.length).toBe(1);
  });

  it("passes on what onClose throws of a client that left", async () => {
    const s = await stage(two(new Gate()), {
      onClose: () => {
        throw boom;
      },
    });
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("first");
    client.socket.resetAndDestroy();
    await s.hasEnded("disconnected");
    expect(s.passedOn).toEqual([boom]);
  });

  it("cuts a stream that failed in the middle of a frame, whatever onError has to say", async () => {
    const more = new Gate();
    const s = await stage(
      async function* () {
        yield new TextEncoder().encode("data: half a fr");
        await more.opened;
        throw boom;
      },
      { onError: () => ({ event: "failed", data: "sorry" }) },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("half a fr");
    more.open();
    const received = await client.ended();
    expect(received).not.toContain("sorry");
    expect(received).not.toContain("\r\n0\r\n\r\n");
    await s.hasEnded("error", { returns: 0 });
  });

  it("pings again after an event has closed the frame that bytes had opened", async () => {
    const more = new Gate();
    const s = await stage(
      async function* () {
        yield new TextEncoder().encode("data: half\n");
        yield "whole";
        await more.opened;
      },
      { pingInterval: 1_000 },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: whole\n\n");
    vi.advanceTimersByTime(1_000);
    await client.until(": ping\n\n");
    more.open();
    await s.hasEnded("completed", { returns: 0 });
  });

  it("sends what was written in the same moment before it cuts", async () => {
    const s = await stage(async function* () {
      yield "x".repeat(200_000);
      yield "last words";
      throw boom;
    });
    const client = new RawClient(s.port).request("GET", "/");
    expect(await client.ended()).toContain("data: last words\n\n");
    await s.hasEnded("error", { returns: 0 });
  });

  it("cuts a failed stream, after sendTimeout, whose client does not take what was written before", async () => {
    const s = await stage(
      async function* (_req, { response }) {
        // Until the system takes no more: what is left is little enough for a source to be asked again.
        while (response.writableLength === 0) {
          yield "x".repeat(10_000);
          await turn();
        }
        throw boom;
      },
      { sendTimeout: 2_000 },
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: ");
    client.socket.pause();
    await until(() => s.streams[0]?.signal.aborted === true);
    expect(s.over).toBe(0);
    await until(() => {
      vi.advanceTimersByTime(500);
      return s.over === 1;
    });
    await s.hasEnded("error", { returns: 0 });
    expect(s.passedOn).toEqual([boom]);
  });
});

describe("an iterator's return()", () => {
  for (const [name, leave] of [
    [
      "throws",
      () => {
        throw boom;
      },
    ],
    ["rejects", () => Promise.reject(boom)],
    ["never settles", () => new Promise<never>(() => {})],
  ] as const) {
    for (const end of ["disconnected", "expired", "error"] as const) {
      it(`may be one that ${name}, when the stream ends for ${end}`, async () => {
        const more = new Gate();
        const items = ["first", null];
        const s = await stage(
          () => ({
            [Symbol.asyncIterator]: () => ({
              async next() {
                if (items.length === 1) await more.opened;
                return { done: false, value: items.shift() };
              },
              return: leave,
            }),
          }),
          { maxDuration: 5_000 },
        );
        const client = new RawClient(s.port).request("GET", "/");
        await client.until("first");
        if (end === "disconnected") client.socket.destroy();
        else if (end === "expired") vi.advanceTimersByTime(5_000);
        else more.open();
        await s.hasEnded(end);
        // What return() threw or rejected with is nobody's concern any more.
        expect(s.passedOn).toEqual(end === "error" ? [expect.objectContaining({ code: "ERR_INVALID_ITEM" })] : []);
      });
    }
  }

  it("is called when an iterable of promises holds one that rejects", async () => {
    let cleaned = 0;
    const s = await stage(function* () {
      try {
        yield "first";
        yield Promise.reject(boom);
      } finally {
        cleaned += 1;
      }
    });
    const client = new RawClient(s.port).request("GET", "/");
    expect(await client.ended()).toContain("data: first\n\n");
    await s.hasEnded("error");
    expect(cleaned).toBe(1);
    expect(s.passedOn).toEqual([boom]);
  });

  it("is not waited for: a source that takes no notice of the signal ends when it next wakes", async () => {
    const more = new Gate();
    let rounds = 0;
    let cleaned = 0;
    const s = await stage(async function* () {
      try {
        for (;;) {
          yield rounds++;
          if (rounds === 3) await more.opened;
        }
      } finally {
        cleaned += 1;
      }
    });
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: 2\n\n");
    client.socket.destroy();
    const summary = await s.hasEnded("disconnected");
    expect([summary.events, cleaned]).toEqual([3, 0]);
    more.open();
    await until(() => cleaned === 1);
    expect(rounds).toBe(4);
  });

  it("may be missing", async () => {
    const s = await stage(() => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }));
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("\r\n\r\n");
    client.socket.destroy();
    await s.hasEnded("disconnected", { returns: 0 });
  });

  it("takes no harm from a next() that rejects after the client has left", async () => {
    const more = new Gate();
    const s = await stage(async function* () {
      yield "first";
      await more.opened;
      throw boom;
    });
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("first");
    client.socket.destroy();
    await s.hasEnded("disconnected");
    more.open();
    await turn();
    expect(s.passedOn).toEqual([]);
    expect(s.summaries.length).toBe(1);
  });
});
