import compression from "compression";
import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import { eventSource, type EventSourceOptions, type EventStream, type StreamSummary } from "express-event-source";
import { describe, expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { aborted, failOnWarnings, fakeTimers, freshTurn, stage, turn, until } from "../support/stage.js";

failOnWarnings();

/** A middleware that takes a method of the response over, as `express-session` and `on-headers` do. */
const failing =
  (method: "end" | "write" | "writeHead") =>
  (_req: Request, res: Response, next: NextFunction): void => {
    res[method] = (() => {
      throw new Error(`${method} fails`);
    }) as never;
    next();
  };

const waiting = async function* () {
  yield 1;
  await new Promise(() => {});
};

describe("a response whose end() throws", () => {
  it("ends a stream whose time is up with the error, and harms nobody else", async () => {
    const s = await stage(waiting, { maxDuration: 20 }, [failing("end")]);
    await new RawClient(s.port).request("GET", "/").ended();
    await until(() => s.over === 1);
    expect(s.passedOn).toEqual([expect.objectContaining({ message: "end fails" })]);
    expect(s.summaries).toEqual([expect.objectContaining({ reason: "error", events: 1 })]);
  });

  it("does not keep the other streams from being told that the server closes", async () => {
    const s = await stage(waiting, {}, [
      (req, res, next) => (req.headers["x-fails"] === undefined ? next() : failing("end")(req, res, next)),
    ]);
    const clients = [
      new RawClient(s.port).request("GET", "/", { "X-Fails": "1" }),
      new RawClient(s.port).request("GET", "/"),
    ];
    for (const client of clients) await client.until("data: 1");
    await new Promise((resolve) => s.server.close(resolve));
    await until(() => s.over === 2);
    expect(s.summaries.map(({ reason }) => reason).sort()).toEqual(["error", "shutdown"]);
  });

  it("is reported for a source that has ended", async () => {
    const s = await stage(() => [1], {}, [failing("end")]);
    await new RawClient(s.port).request("GET", "/").ended();
    await until(() => s.over === 1);
    expect(s.summaries[0]?.reason).toBe("error");
    expect(s.passedOn).toEqual([expect.objectContaining({ message: "end fails" })]);
  });
});

describe("a response whose head or write throws", () => {
  it.each(["write", "writeHead"] as const)(
    "in %s() is no completed stream: the error goes to next, which can still answer",
    async (method) => {
      const app = express();
      const summaries: StreamSummary[] = [];
      const original = { write: undefined as unknown, writeHead: undefined as unknown };
      app.use((req, res, next) => {
        Object.assign(original, { write: res.write, writeHead: res.writeHead });
        failing(method)(req, res, next);
      });
      app.get("/", eventSource(["a"], { onClose: (summary) => summaries.push(summary) }));
      app.use(((error: Error, _req, res, _next) => {
        Object.assign(res, original);
        res.status(500).type("text").end(error.message);
      }) as express.ErrorRequestHandler);
      const { url } = await serve(app);
      const answer = await fetch(url);
      expect([answer.status, await answer.text()]).toEqual([500, `${method} fails`]);
      expect(summaries).toEqual([expect.objectContaining({ reason: "error" })]);
    },
  );

  it("on HEAD goes to next too, under Express 4 as well", async () => {
    const app = express();
    app.head("/", (req, res, next) => {
      const { writeHead } = res;
      res.writeHead = (() => {
        res.writeHead = writeHead;
        throw new Error("writeHead fails");
      }) as never;
      void eventSource([1])(req, res, next);
    });
    app.use(((_error, _req, res, _next) => void res.status(503).end()) as express.ErrorRequestHandler);
    const { url } = await serve(app);
    expect((await fetch(url, { method: "HEAD" })).status).toBe(503);
  });
});

describe("a response that fails while the stream writes its last", () => {
  fakeTimers();
  const throws = (): never => {
    throw new Error("write fails");
  };
  const failsAtOnce: RequestHandler = (_req, res, next) => {
    res.write = () => {
      res.emit("error", new Error("write fails"));
      return false;
    };
    next();
  };
  const uncompressed: EventSourceOptions<never> = { headers: { "Cache-Control": "no-store" } };

  it.each<[string, (stream: EventStream) => AsyncGenerator<number>, RequestHandler[], EventSourceOptions<never>]>([
    [
      "throws in write()",
      async function* ({ response }) {
        yield 1;
        await turn();
        response.write = throws;
        yield 2;
      },
      [],
      {},
    ],
    [
      "has been ended by the source",
      async function* ({ response }) {
        yield 1;
        // Were the allowance spent, the next item would leave before the source goes on, and nothing would be lost.
        await freshTurn();
        yield 2;
        response.end();
      },
      [],
      {},
    ],
    [
      "emits its error within write()",
      async function* () {
        yield 1;
        await new Promise(() => {});
      },
      [failsAtOnce],
      {},
    ],
    [
      "throws in write() behind compression, and the source throws too",
      async function* ({ response }) {
        yield 1;
        await turn();
        response.write = throws;
        yield 2;
        throw new Error("source fails");
      },
      [compression()],
      uncompressed,
    ],
  ])("leaves no timer and no listener where it %s", async (_what, source, before, options) => {
    const s = await stage(
      (_req, stream) => source(stream),
      { pingInterval: false, sendTimeout: 400, endOnServerClose: false, ...options },
      before,
    );
    // The middleware keeps the one for 'drain' itself, and `off` does not know of it.
    if (options === uncompressed) s.foreignListeners = ["ServerResponse drain"];
    new RawClient(s.port).request("GET", "/", { "Accept-Encoding": "gzip" });
    await until(() => s.over === 1);
    expect(s.summaries).toEqual([expect.objectContaining({ reason: "error" })]);
    // Whatever would begin at the end of this tick has begun.
    await turn();
    await s.leavesNothing();
  });
});

describe("a response that somebody else ends", () => {
  it("within onError is an error for next, not an uncaught one", async () => {
    const s = await stage(
      async function* () {
        yield 1;
        throw new Error("source");
      },
      {
        onError: (_error, { response }) => {
          response.end();
          return { data: "farewell" };
        },
      },
    );
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
    await until(() => s.over === 1);
    expect(JSON.stringify(s.passedOn.map((error) => (error as { code?: string }).code))).toContain(
      "ERR_RESPONSE_ENDED",
    );
  });

  it("while the source goes on is no completed stream", async () => {
    const s = await stage(async function* (_req, { response }) {
      yield 1;
      response.end();
      yield 2;
    });
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
    await until(() => s.over === 1);
    expect(s.summaries).toEqual([expect.objectContaining({ reason: "error" })]);
    expect(s.passedOn).toEqual([expect.objectContaining({ code: "ERR_RESPONSE_ENDED" })]);
  });

  it("while the source waits is the end of the stream, as if the client had left", async () => {
    const s = await stage(async function* (_req, { response, signal }) {
      yield 1;
      setImmediate(() => response.end());
      await aborted(signal);
    });
    await new RawClient(s.port).request("GET", "/").until("0\r\n\r\n");
    await until(() => s.over === 1);
    expect(s.summaries).toEqual([expect.objectContaining({ reason: "disconnected" })]);
    expect(s.passedOn).toEqual([]);
  });

  it("before the first item, by the source's function, is its own answer", async () => {
    const outcomes: unknown[] = [];
    const app = express();
    app.get(
      "/",
      eventSource(
        (_req, { response }) => {
          response.status(401).end("no");
          return null;
        },
        { onClose: (summary) => outcomes.push(summary) },
      ),
    );
    app.use(((error, _req, _res, _next) => outcomes.push(error)) as express.ErrorRequestHandler);
    const { url } = await serve(app);
    const answer = await fetch(url);
    expect([answer.status, await answer.text(), outcomes]).toEqual([401, "no", []]);
  });
});

describe("what stood on the response before", () => {
  it("cannot frame the stream: an earlier Content-Length goes", async () => {
    const app = express();
    app.get(
      "/",
      (_req, res, next) => {
        res.set("Content-Length", "4");
        next();
      },
      eventSource(["a", "b"]),
    );
    const { url } = await serve(app);
    const answer = await fetch(url);
    expect([answer.headers.get("content-length"), await answer.text()]).toEqual([null, "data: a\n\ndata: b\n\n"]);
  });

  it("is an error for next, even if the client has gone with it", async () => {
    const errors: unknown[] = [];
    const app = express();
    app.get("/", async (req, res) => {
      res.send("done");
      await new Promise((resolve) => res.on("close", resolve));
      await eventSource([1])(req, res, ((error: unknown) => errors.push(error)) as NextFunction);
    });
    const { url } = await serve(app);
    await (await fetch(url)).text();
    await until(() => errors.length === 1);
    expect(errors).toEqual([expect.objectContaining({ code: "ERR_HEADERS_SENT" })]);
  });
});

it("an item that comes as the stream ends is not counted as sent", async () => {
  const controller = new AbortController();
  const s = await stage(() => [1], {
    shutdownSignal: controller.signal,
    toEvent: () => {
      controller.abort();
      return { data: 1 };
    },
  });
  await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
  await until(() => s.over === 1);
  expect(s.summaries).toEqual([expect.objectContaining({ reason: "shutdown", events: 0 })]);
});

it("bytes that are split inside a blank line do not hold back the event of onError", async () => {
  const s = await stage(
    async function* () {
      yield Buffer.from("data: x\r\n\r");
      yield Buffer.from("\n");
      throw new Error("source");
    },
    { onError: () => ({ event: "failure", data: "sorry" }) },
  );
  expect(await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended()).toContain("event: failure");
});
