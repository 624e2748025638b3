import { createServer, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import express, { type ErrorRequestHandler, type Express } from "express";
import {
  eventSource,
  type EventSourceOptions,
  type EventStream,
  type EventStreamSource,
  EventStreamError,
  type StreamSummary,
} from "express-event-source";
import request from "supertest";
import { describe, expect, it, vi } from "vitest";
import { RawClient } from "./support/raw-client.js";
import { serve } from "./support/server.js";
import { failOnAbort, Gate } from "./support/stage.js";

// The package has no types of its own; those of Express 5 will do.
const express4 = createRequire(import.meta.url)("express4") as typeof express;

const never = new Promise<never>(() => {});

/** Answers errors as an application would: with their status, or 500, and never with their text. */
function answerErrors(app: Express): Error[] {
  const errors: Error[] = [];
  const handler: ErrorRequestHandler = (error, _req, res, _next) => {
    errors.push(error as Error);
    if (!res.headersSent) res.status((error as { status?: number }).status ?? 500).send("sorry");
  };
  app.use(handler);
  return errors;
}

async function streaming<Item>(source: EventStreamSource<Item>, options: EventSourceOptions<Item> = {}) {
  const app = express();
  app.all("/", eventSource(source as EventStreamSource, options as EventSourceOptions));
  const errors = answerErrors(app);
  return { ...(await serve(app)), errors };
}

async function* numbers(): AsyncGenerator<{ id: number; data: { n: number } }> {
  yield { id: 1, data: { n: 1 } };
  yield { id: 2, data: { n: 2 } };
}
const twoFrames = 'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\n';

describe.each([
  ["Express 5", express],
  ["Express 4", express4],
])("with %s", (_name, createApp) => {
  it("streams each item as one event, then ends the response", async () => {
    const app = createApp();
    app.get("/numbers", eventSource(numbers));
    const response = await request(app).get("/numbers").buffer(true).expect(200);
    expect(response.text).toBe(twoFrames);
    expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  });

  it("gives the function the request with its parameters and query", async () => {
    const app = createApp();
    app.get(
      "/range/:from",
      eventSource((req) => [req.params.from ?? "", String(req.query.to)]),
    );
    const response = await request(app).get("/range/1?to=5").buffer(true);
    expect(response.text).toBe("data: 1\n\ndata: 5\n\n");
  });

  it("works below app.use and routers, and for any method", async () => {
    const app = createApp();
    const router = createApp.Router({ mergeParams: true });
    router.use(
      "/live",
      eventSource((req) => [`${req.method} ${req.params.room}`]),
    );
    app.use("/rooms/:room", router);
    for (const method of ["get", "post", "put", "patch", "delete"] as const) {
      const response = await request(app)[method]("/rooms/7/live").buffer(true);
      expect(response.text).toBe(`data: ${method.toUpperCase()} 7\n\n`);
    }
  });

  it.each([
    ["sent", { prompt: "hi\nthere" }],
    ["absent", undefined],
  ])("answers a POST behind express.json(), the body %s", async (_what, body) => {
    const app = createApp();
    app.post("/chat", createApp.json(), async (req, res, next) => {
      async function* completion() {
        for (const text of String(req.body?.prompt).split(/(?<=\n)/)) {
          await new Promise(setImmediate);
          yield { text };
        }
      }
      await eventSource(completion(), { toEvent: ({ text }) => ({ data: text }) })(req, res, next);
    });
    const response = await request(app).post("/chat").send(body).buffer(true);
    expect(response.text).toBe(body === undefined ? "data: undefined\n\n" : "data: hi\ndata: \n\ndata: there\n\n");
  });

  it.each<[what: string, source: EventStreamSource]>([
    [
      "a function that throws",
      () => {
        throw Object.assign(new Error("secret"), { status: 403 });
      },
    ],
    [
      "a generator that throws at once",
      async function* () {
        throw Object.assign(new Error("secret"), { status: 403 });
      },
    ],
    ["a promise that rejects", () => Promise.reject(Object.assign(new Error("secret"), { status: 403 }))],
    [
      "a promise that rejects later",
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        throw Object.assign(new Error("secret"), { status: 403 });
      },
    ],
    [
      "a generator that throws at once, after a promise",
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return (async function* () {
          throw Object.assign(new Error("secret"), { status: 403 });
        })();
      },
    ],
  ])("answers %s with an HTTP error", async (_what, source) => {
    const onClose = vi.fn();
    const app = createApp();
    app.get("/", eventSource(source, { onClose }));
    const errors = answerErrors(app);
    const response = await request(app).get("/").expect(403, "sorry");
    expect(response.headers["content-type"]).not.toContain("event-stream");
    expect(response.headers["cache-control"]).toBeUndefined();
    expect(errors).toEqual([expect.objectContaining({ message: "secret" })]);
    expect(onClose).not.toHaveBeenCalled();
  });

  it("gives an error to next where the response had begun", async () => {
    const app = createApp();
    app.get(
      "/",
      (_req, res, next) => {
        res.write("begun");
        next();
      },
      eventSource(numbers),
    );
    const errors: Error[] = [];
    app.use(((error, _req, res, _next) => {
      errors.push(error as Error);
      res.end();
    }) as ErrorRequestHandler);
    await request(app).get("/").expect(200, "begun");
    expect(errors).toEqual([
      expect.objectContaining({
        code: "ERR_HEADERS_SENT",
        message: expect.stringMatching(/already begun.*before anything is written/),
      }),
    ]);
  });

  it("resolves the handler's promise when the stream has ended", async () => {
    const order: string[] = [];
    const gate = new Gate();
    const ended = new Gate();
    const app = createApp();
    app.get("/", async (req, res, next) => {
      await eventSource(
        async function* () {
          yield 1;
          await gate.opened;
          order.push("source");
        },
        { onClose: () => void order.push("onClose") },
      )(req, res, next);
      order.push("handler");
      ended.open();
    });
    const { port } = await serve(app);
    const client = new RawClient(port).request("GET", "/");
    await client.until("data: 1");
    expect(order).toEqual([]);
    gate.open();
    await ended.opened;
    expect(order).toEqual(["source", "onClose", "handler"]);
  });

  it("sends a first event before the second is there", async () => {
    const app = createApp();
    app.get(
      "/",
      eventSource(async function* (_req, { signal }) {
        yield "first";
        await failOnAbort(signal);
      }),
    );
    const response = request(app)
      .get("/")
      .buffer(true)
      .parse((res, done) => {
        res.once("data", (chunk: Buffer) => {
          done(null, String(chunk));
          (res as unknown as IncomingMessage).destroy();
        });
      });
    expect((await response).body).toBe("data: first\n\n");
  });
});

describe("HEAD", () => {
  it("gets the head alone, and the source is never called", async () => {
    const source = vi.fn(numbers);
    const onClose = vi.fn();
    const app = express();
    app.get(
      "/",
      eventSource(source, {
        onClose,
        status: 202,
        headers: { "X-A": "1" },
        retry: () => {
          throw new Error("not called");
        },
      }),
    );
    const response = await request(app).head("/").expect(202);
    expect(response.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "x-accel-buffering": "no",
      "x-a": "1",
    });
    expect(source).not.toHaveBeenCalled();
    expect(onClose).not.toHaveBeenCalled();
  });
});

describe("what a source gets with each request", () => {
  it("can be spread and taken apart", async () => {
    const seen = new Gate<EventStream>();
    const { url } = await streaming((_req, stream) => {
      seen.open({ ...stream });
      return [1];
    });
    await (await fetch(url)).text();
    const stream = await seen.opened;
    expect(Object.keys(stream).sort()).toEqual(["lastEventId", "response", "shutdown", "signal"]);
    expect(stream.signal).toBeInstanceOf(AbortSignal);
    expect(stream.shutdown.aborted).toBe(false);
    expect(stream.response.locals).toBeTypeOf("object");
    expect(stream.lastEventId).toBeUndefined();
  });

  it("is its own", async () => {
    const streams: EventStream[] = [];
    const { url } = await streaming((_req, stream) => {
      streams.push(stream);
      return [1];
    });
    await Promise.all([fetch(url), fetch(url)].map(async (response) => (await response).text()));
    expect(streams).toHaveLength(2);
    expect(streams[0]?.signal).not.toBe(streams[1]?.signal);
  });

  it("has a signal whose reason is the reason of the end", async () => {
    const signals: AbortSignal[] = [];
    const closed: StreamSummary[] = [];
    const { url } = await streaming(
      (req, { signal }) => {
        signals.push(signal);
        return req.query.fail === undefined ? [1] : [1, null as unknown as number];
      },
      { onClose: (summary) => closed.push(summary), onError: () => ({ data: "sorry" }) },
    );
    await (await fetch(url)).text();
    await (await fetch(`${url}?fail`)).text();
    expect(signals.map(({ aborted, reason }) => [aborted, reason as unknown])).toEqual([
      [true, "completed"],
      [true, "error"],
    ]);
    expect(closed.map(({ reason }) => reason)).toEqual(["completed", "error"]);
  });
});

describe("a malformed request", () => {
  it.each(["a b c", "[::", "\u0080\u00ff", "exa mple:99999999", "a".repeat(5_000)])(
    "with the Host header %j is answered like any other",
    async (host) => {
      const { port } = await streaming((req) => [req.path]);
      const client = new RawClient(port);
      client.socket.write(Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, "latin1"));
      await client.until("data: /\n\n");
      expect(await client.ended()).toMatch(/^HTTP\/1\.1 200 /);
    },
  );

  it("of HTTP/1.0 without a Host gets the stream until the connection ends", async () => {
    const { port } = await streaming(numbers);
    const client = new RawClient(port);
    client.socket.write("GET / HTTP/1.0\r\n\r\n");
    expect(await client.ended()).toMatch(new RegExp(`\r\n\r\n${twoFrames}$`));
  });
});

describe("retry", () => {
  it.each<[retry: number | (() => number), sent: string]>([
    [0, "0"],
    [2_500, "2500"],
    [() => 7, "7"],
  ])("%o is sent first", async (retry, sent) => {
    const { url } = await streaming(numbers, { retry });
    expect(await (await fetch(url)).text()).toBe(`retry: ${sent}\n\n${twoFrames}`);
  });

  it("is sent with the head though no event is there", async () => {
    const { port } = await streaming(
      async function* () {
        await never;
      },
      { retry: 5 },
    );
    await new RawClient(port).request("GET", "/").until("retry: 5\n\n");
  });

  it("is rounded where a function makes it, as jitter is", async () => {
    const { url } = await streaming(() => [1], { retry: () => 1_000.4 });
    expect(await (await fetch(url)).text()).toBe("retry: 1000\n\ndata: 1\n\n");
  });

  it("is asked for once for each stream", async () => {
    let n = 0;
    const { url } = await streaming(() => [1], { retry: () => ++n });
    expect(await (await fetch(url)).text()).toBe("retry: 1\n\ndata: 1\n\n");
    expect(await (await fetch(url)).text()).toBe("retry: 2\n\ndata: 1\n\n");
  });

  it.each([[-1], [Number.NaN], ["5"], [undefined]])(
    "that is %o when it is asked for becomes an HTTP error",
    async (wrong) => {
      const { url, errors } = await streaming(numbers, { retry: () => wrong as number });
      expect((await fetch(url)).status).toBe(500);
      expect(errors).toEqual([expect.objectContaining({ code: "ERR_INVALID_FIELD", field: "retry" })]);
    },
  );

  it("does not come with 204", async () => {
    const { url } = await streaming(() => null, { retry: 5 });
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([204, ""]);
  });
});

describe("options for the events", () => {
  it.each(["\n", "\r\n", "\r"] as const)(
    "lineEnding %j holds for every frame, retry and pings included",
    async (lineEnding) => {
      const gate = new Gate();
      const { port } = await streaming(
        async function* () {
          yield { id: 1, data: "a\nb\r\nc\rd" };
          await gate.opened;
          yield "last";
        },
        { lineEnding, retry: 5, pingInterval: 5, ping: () => ({ comment: "ping\npong", event: "p", data: "" }) },
      );
      const client = new RawClient(port).request("GET", "/");
      await client.until("pong");
      gate.open();
      await client.until("data: last");
      await client.until("\r\n0\r\n");
      const frames = [
        "retry: 5",
        "id: 1\ndata: a\ndata: b\ndata: c\ndata: d",
        ": ping\n: pong\nevent: p\ndata: ",
        "data: last",
      ].map((frame) => `${frame}\n\n`.replaceAll("\n", lineEnding));
      const body = client.body;
      for (const frame of frames) expect(body).toContain(frame);
      expect(frames.reduce((rest, frame) => rest.replaceAll(frame, ""), body)).toBe("");
    },
  );

  it("toEvent makes the event of each value, be it any item", async () => {
    const { url } = await streaming(["a", "b", "c"], {
      toEvent: (value) =>
        value === "a" ? { event: value, data: "" } : value === "b" ? 7 : Buffer.from("data: raw\n\n"),
    });
    expect(await (await fetch(url)).text()).toBe("event: a\ndata: \n\ndata: 7\n\ndata: raw\n\n");
  });

  it("serialize makes the text of data that is no string, pings included", async () => {
    const gate = new Gate();
    const { port } = await streaming(
      async function* () {
        yield { data: 1 };
        yield 2;
        yield "text";
        await gate.opened;
      },
      { serialize: (data) => `<${String(data)}>`, pingInterval: 5, ping: () => ({ data: 3 }) },
    );
    const client = new RawClient(port).request("GET", "/");
    await client.until("data: <3>\n\n");
    gate.open();
    await client.until("\r\n0\r\n");
    expect(client.body).toMatch(/^data: <1>\n\ndata: <2>\n\ndata: text\n\n(data: <3>\n\n)+$/);
  });

  it("a Uint8Array is sent unchanged", async () => {
    const bytes = Buffer.from([0xff, 0x00, 0x0a, 0x0a, 0x80, 0x0a, 0x0a]);
    const { url } = await streaming([bytes, new Uint8Array(), new Uint8Array(bytes)]);
    expect(Buffer.from(await (await fetch(url)).arrayBuffer())).toEqual(Buffer.concat([bytes, bytes]));
  });

  it("frozen events are sent and stay as they are", async () => {
    const event = Object.freeze({ data: Object.freeze({ a: 1 }), id: 1 });
    const { url } = await streaming(Object.freeze([event, event]));
    expect(await (await fetch(url)).text()).toBe('id: 1\ndata: {"a":1}\n\n'.repeat(2));
    expect(event).toEqual({ data: { a: 1 }, id: 1 });
  });
});

describe("the summary", () => {
  it("counts the source's events, and the bytes that the client received", async () => {
    const closed = new Gate<StreamSummary>();
    const { port } = await streaming(
      async function* () {
        yield "ä✓😀";
        yield Buffer.from(": raw ü\n\n");
        yield { id: 3, data: "x".repeat(100_000) };
      },
      { retry: 5, pingInterval: 1, onClose: closed.open },
    );
    const client = new RawClient(port).request("GET", "/", { Connection: "close" });
    await client.ended();
    const summary = await closed.opened;
    expect(summary).toEqual({
      reason: "completed",
      events: 3,
      bytes: Buffer.byteLength(client.body),
      duration: expect.any(Number),
    });
    expect(summary.bytes).toBeGreaterThan(100_000);
    expect(summary.duration).toBeGreaterThanOrEqual(0);
    expect(summary.duration).toBeLessThan(20_000);
  });

  it("does not count an item that was refused", async () => {
    const closed = new Gate<StreamSummary>();
    const { url } = await streaming(["a", undefined as unknown as string], {
      onClose: closed.open,
      onError: () => ({ event: "failure", data: "sorry" }),
    });
    const body = await (await fetch(url)).text();
    const { error, ...rest } = await closed.opened;
    expect(rest).toEqual({ reason: "error", events: 1, bytes: body.length, duration: expect.any(Number) });
    expect(error).toMatchObject({ code: "ERR_INVALID_ITEM" });
  });

  it("is given once, and not for HEAD, 204 or an error before the head", async () => {
    const onClose = vi.fn();
    const { url } = await streaming(
      (req) => {
        if (req.query.fail !== undefined) throw new Error("no");
        return req.query.empty === undefined ? [1] : null;
      },
      { onClose },
    );
    await fetch(url, { method: "HEAD" });
    await fetch(`${url}?empty`);
    await fetch(`${url}?fail`);
    expect(onClose).not.toHaveBeenCalled();
    await (await fetch(url)).text();
    await vi.waitFor(() => expect(onClose).toHaveBeenCalledTimes(1), 20_000);
  });
});

describe("an error after the head", () => {
  it.each<[what: string, source: () => EventStreamSource, options: EventSourceOptions]>([
    [
      "the source throws",
      () =>
        async function* () {
          yield "before";
          throw new Error("secret");
        },
      {},
    ],
    ["an item is refused", () => ["before", { secret: 1 } as never], {}],
    ["data cannot be serialized", () => ["before", { data: () => "secret" }], {}],
    [
      "toEvent throws",
      () => ["before", "after"],
      {
        toEvent: (value) => {
          if (value === "after") throw new Error("secret");
          return value;
        },
      },
    ],
    [
      "serialize throws",
      () => ["before", 5],
      {
        serialize: () => {
          throw new Error("secret");
        },
      },
    ],
    [
      "the ping throws",
      () =>
        async function* () {
          yield "before";
          await never;
        },
      {
        pingInterval: 1,
        ping: () => {
          throw new Error("secret");
        },
      },
    ],
    [
      "the ping is refused",
      () =>
        async function* () {
          yield "before";
          await never;
        },
      { pingInterval: 1, ping: () => ({ secret: 1 }) as never },
    ],
    [
      "a promise of an iterable rejects",
      () =>
        function* () {
          yield "before";
          yield Promise.reject(new Error("secret"));
        },
      {},
    ],
  ])("where %s, sends onError's event and ends", async (_what, source, options) => {
    const onError = vi.fn(() => ({ event: "failure", data: "sorry" }));
    const { url, errors } = await streaming(source(), { ...options, onError });
    expect(await (await fetch(url)).text()).toBe("data: before\n\nevent: failure\ndata: sorry\n\n");
    expect(onError).toHaveBeenCalledTimes(1);
    expect(onError).toHaveBeenCalledWith(expect.any(Error), expect.objectContaining({ lastEventId: undefined }));
    expect(errors).toEqual([]);
  });

  it.each<[what: string, onError: EventSourceOptions["onError"]]>([
    ["without onError", undefined],
    ["where onError returns nothing", () => {}],
  ])(
    "%s cuts the connection after what was written, gives the error to next and no text of it away",
    async (_what, onError) => {
      const { port, errors } = await streaming(
        async function* () {
          yield "before";
          throw new Error("secret");
        },
        { onError },
      );
      const client = new RawClient(port).request("GET", "/");
      const received = await client.ended();
      expect(client.body).toBe("data: before\n\n");
      expect(received).not.toContain("\r\n0\r\n");
      expect(received).not.toContain("secret");
      await vi.waitFor(() => expect(errors).toEqual([expect.objectContaining({ message: "secret" })]), 20_000);
    },
  );

  it("names what to write instead", async () => {
    const { url, errors } = await streaming(["before", { price: 9 } as never]);
    await expect((await fetch(url)).text()).rejects.toThrow();
    await vi.waitFor(() => expect(errors).toHaveLength(1), 20_000);
    expect(errors[0]).toBeInstanceOf(EventStreamError);
    expect(errors[0]?.message).toBe(
      '"price" is not a field of an event (data, event, id, retry, comment); put your payload in data: { data: { price } }.',
    );
  });

  it("that is no Error reaches next wrapped", async () => {
    const { url, errors } = await streaming(() => Promise.reject("route"));
    expect((await fetch(url)).status).toBe(500);
    expect(errors).toEqual([
      expect.objectContaining({ message: 'An event stream failed: "route" was thrown.', cause: "route" }),
    ]);
  });
});

describe("the handler", () => {
  it("never starts the source of a client that has gone", async () => {
    const source = vi.fn(numbers);
    const onClose = vi.fn();
    const handled = new Gate();
    const arrived = new Gate();
    const app = express();
    app.get("/", async (req, res, next) => {
      const gone = new Promise((resolve) => res.once("close", resolve));
      arrived.open();
      await gone;
      await eventSource(source, { onClose })(req, res, next);
      handled.open();
    });
    const { port } = await serve(app);
    const client = new RawClient(port).request("GET", "/");
    await arrived.opened;
    client.socket.destroy();
    await handled.opened;
    expect(source).not.toHaveBeenCalled();
    expect(onClose).not.toHaveBeenCalled();
  });

  it("keeps the connection for the next request when a stream has ended", async () => {
    const { port } = await streaming(numbers);
    const client = new RawClient(port).request("GET", "/");
    await client.until("\r\n0\r\n\r\n");
    client.received = "";
    client.request("GET", "/");
    await client.until("\r\n0\r\n\r\n");
    expect(client.body).toBe(twoFrames);
  });

  it("answers without Express's help", async () => {
    const handler = eventSource(numbers) as unknown as (req: unknown, res: unknown, next: () => void) => Promise<void>;
    const { url } = await serve((req, res) => void handler(req, res, () => {}), createServer());
    expect(await (await fetch(url)).text()).toBe(twoFrames);
  });
});
