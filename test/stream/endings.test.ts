import { once } from "node:events";
import compression from "compression";
import express, { type ErrorRequestHandler, type NextFunction, type Request, type Response } from "express";
import { eventSource, type EventSourceOptions, type EventStreamSource } from "express-event-source";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { endless, stage, until } from "../support/stage.js";

afterEach(() => void vi.restoreAllMocks());

async function* failing(): AsyncGenerator<string> {
  yield "hello";
  await new Promise((resolve) => setTimeout(resolve, 20));
  throw new Error("source fails");
}

describe("a handler that is called without next", () => {
  /** Serves a handler without `next`, and tells how its promise settled. */
  async function settled(source: EventStreamSource, options: EventSourceOptions = {}) {
    let settle!: (result: unknown) => void;
    const result = new Promise<unknown>((resolve) => (settle = resolve));
    const app = express();
    app.get("/", (req, res) => {
      eventSource(source, options)(req, res).then(
        () => settle("resolved"),
        (error: unknown) => {
          settle(error);
          if (!res.headersSent) res.status(502).end();
        },
      );
    });
    const { port } = await serve(app);
    const received = await new RawClient(port).request("GET", "/", { Connection: "close" }).ended();
    return { received, result: await result };
  }

  it("resolves its promise for a stream that ends", async () => {
    expect((await settled(["hello"])).result).toBe("resolved");
  });

  it("rejects it with an error before the head, which can still be answered", async () => {
    const { received, result } = await settled(() => Promise.reject(new Error("no database")));
    expect(result).toMatchObject({ message: "no database" });
    expect(received).toContain("502 Bad Gateway");
  });

  it("rejects it with an error after the head, and cuts the stream", async () => {
    const { received, result } = await settled(failing);
    expect(result).toMatchObject({ message: "source fails" });
    expect(received).toContain("data: hello");
    expect(received).not.toContain("\r\n0\r\n\r\n");
  });

  it("rejects it with what onClose throws", async () => {
    const onClose = (): never => {
      throw new Error("onClose fails");
    };
    expect((await settled(["hello"], { onClose })).result).toMatchObject({ message: "onClose fails" });
  });

  it("lets Express 5 hear of it where the route returns the promise", async () => {
    const app = express();
    app.get("/", (req, res) => eventSource(() => Promise.reject(new Error("no database")))(req, res));
    app.use(((error: Error, _req, res, _next) => void res.status(500).end(error.message)) as ErrorRequestHandler);
    const { url } = await serve(app);
    expect(await (await fetch(url)).text()).toBe("no database");
  });
});

describe("res.end() is called, for the middlewares that do their work there", () => {
  /** Notes the calls of the request's `end`, as express-session and loggers wrap it. */
  function wrapped(calls: string[]) {
    return (_req: Request, res: Response, next: NextFunction): void => {
      const end = res.end.bind(res) as (...given: unknown[]) => Response;
      res.end = (...given: unknown[]) => {
        calls.push("end");
        return end(...given);
      };
      next();
    };
  }

  it("once, when the stream has ended", async () => {
    const calls: string[] = [];
    const s = await stage(() => ["hello"], {}, [wrapped(calls)]);
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
    await until(() => s.over === 1);
    expect(calls).toEqual(["end"]);
  });

  it("once, when the client has left", async () => {
    const calls: string[] = [];
    const s = await stage(endless, {}, [wrapped(calls)]);
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("hello");
    client.socket.destroy();
    await s.hasEnded("disconnected", { returns: 1 });
    expect(calls).toEqual(["end"]);
  });

  it("once, when the client left while its source was being made", async () => {
    const calls: string[] = [];
    const s = await stage(() => new Promise<never>(() => {}), {}, [wrapped(calls)]);
    const client = new RawClient(s.port).request("GET", "/");
    await until(() => s.streams.length === 1);
    client.socket.destroy();
    await until(() => s.over === 1);
    expect(calls).toEqual(["end"]);
  });

  it("once, when the stream has failed and is cut: the client does not see an end", async () => {
    const calls: string[] = [];
    const s = await stage(failing, {}, [wrapped(calls)]);
    const received = await new RawClient(s.port).request("GET", "/").ended();
    await until(() => s.over === 1);
    expect(calls).toEqual(["end"]);
    expect(received).not.toContain("\r\n0\r\n\r\n");
  });

  it("once, when the client is cut because it takes nothing", async () => {
    const calls: string[] = [];
    const s = await stage(
      async function* () {
        for (;;) yield "x".repeat(100_000);
      },
      { sendTimeout: 100, pingInterval: false },
      [wrapped(calls)],
    );
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("data: x");
    client.socket.pause();
    await s.hasEnded("timeout");
    expect(calls).toEqual(["end"]);
  });

  it("and what it throws then goes to next", async () => {
    const s = await stage(endless, {}, [
      (_req, res, next) => {
        res.end = () => {
          throw new Error("the session is not saved");
        };
        next();
      },
    ]);
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("hello");
    client.socket.destroy();
    await s.hasEnded("disconnected");
    expect(s.passedOn).toEqual([expect.objectContaining({ message: "the session is not saved" })]);
  });

  it("but not for an error before the head, which the application answers", async () => {
    const calls: string[] = [];
    const s = await stage(() => Promise.reject(new Error("source")), {}, [wrapped(calls)]);
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).until("the application's own words");
    expect(calls).toEqual(["end"]);
  });
});

describe("a function that makes no source", () => {
  const forgetful: [what: string, source: () => unknown][] = [
    ["that forgets to return", () => undefined],
    ["whose promise forgets to return", () => Promise.resolve(undefined)],
  ];

  it.each(forgetful)("%s is an error that says what to return, not a 204 for good", async (_what, source) => {
    const s = await stage(source as never);
    expect(await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended()).toMatch(/^HTTP\/1\.1 500/);
    expect(s.passedOn).toEqual([
      expect.objectContaining({
        code: "ERR_INVALID_SOURCE",
        message: expect.stringContaining("return an iterable, or null for 204") as string,
      }),
    ]);
  });

  it.each<[what: string, returned: () => unknown]>([
    ["returns nothing", () => undefined],
    ["returns null", () => null],
    ["returns a promise of nothing", () => Promise.resolve()],
  ])("because it answers by itself and %s is left alone", async (_what, returned) => {
    const s = await stage(((_req: Request, { response }: { response: Response }) => {
      response.status(401).end("who are you?");
      return returned();
    }) as never);
    const answer = await fetch(s.url);
    await until(() => s.over === 1);
    expect([answer.status, await answer.text(), s.passedOn, s.summaries]).toEqual([401, "who are you?", [], []]);
  });

  it("is left alone, too, if it is a generator that answers by itself and yields nothing", async () => {
    const s = await stage(async function* (_req, { response }) {
      await Promise.resolve();
      response.status(401).end("who are you?");
    });
    const answer = await fetch(s.url);
    await until(() => s.over === 1);
    expect([answer.status, await answer.text(), s.passedOn, s.summaries]).toEqual([401, "who are you?", [], []]);
  });

  it("is left alone, too, if it is a generator whose own answer takes longer than a turn of the event loop", async () => {
    const words = "who are you?".repeat(1_000_000);
    const s = await stage(async function* (_req, { response }) {
      response.status(401).end(words);
      await once(response, "close");
    });
    const answer = await fetch(s.url);
    expect([answer.status, (await answer.text()).length]).toEqual([401, words.length]);
    await until(() => s.over === 1);
    expect([s.passedOn, s.summaries]).toEqual([[], []]);
  });

  it("that answers by itself and returns something to stream hears that it cannot do both", async () => {
    let released = 0;
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: true, value: undefined }),
        return: () => Promise.resolve({ done: true, value: void (released += 1) }),
      }),
    };
    const errors: unknown[] = [];
    const app = express();
    app.get("/", (req, res) =>
      eventSource((_req, { response }) => {
        response.status(401).end("who are you?");
        return source as AsyncIterable<string>;
      })(req, res, (error) => errors.push(error)),
    );
    const { url } = await serve(app);
    expect(await (await fetch(url)).text()).toBe("who are you?");
    expect(errors).toEqual([expect.objectContaining({ code: "ERR_HEADERS_SENT" })]);
    expect(released).toBe(1);
  });
});

describe("a hook that is an async function and rejects", () => {
  const rejecting = (): Promise<never> => Promise.reject(new Error("the hook fails"));

  it("in onClose is an error for next", async () => {
    const s = await stage(() => ["hello"], { onClose: rejecting });
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
    await until(() => s.passedOn.length === 1);
    expect(s.passedOn).toEqual([expect.objectContaining({ message: "the hook fails" })]);
    expect(s.over).toBe(1);
  });

  it("in onError is an error for next beside the source's own, and no event", async () => {
    const s = await stage(failing, { onError: rejecting as never });
    const received = await new RawClient(s.port).request("GET", "/").ended();
    await until(() => s.over === 1);
    expect(received).not.toContain("\r\n0\r\n\r\n");
    expect(s.passedOn).toEqual([
      expect.objectContaining({
        errors: [
          expect.objectContaining({ message: "source fails" }),
          expect.objectContaining({ message: "the hook fails" }),
        ],
      }),
    ]);
  });

  it.each([
    ["an Error", new Error("the hook fails"), "the hook fails"],
    ["another object", { code: 7 }, "An event stream failed: { code } was thrown."],
    ["a string", "the hook fails", 'An event stream failed: "the hook fails" was thrown.'],
  ])(
    "in onClose, with %s, is a process warning where the handler has no next left to tell",
    async (_what, error, message) => {
      const emitWarning = vi.spyOn(process, "emitWarning").mockReturnValue();
      const app = express();
      app.get("/", (req, res) => eventSource(["hello"], { onClose: () => Promise.reject(error) })(req, res));
      const { url } = await serve(app);
      expect(await (await fetch(url)).text()).toBe("data: hello\n\n");
      await until(() => emitWarning.mock.calls.length > 0);
      // Node throws for anything but an Error or a string.
      expect(emitWarning.mock.calls).toEqual([[expect.any(Error)]]);
      expect(emitWarning.mock.calls[0]?.[0]).toMatchObject({ message });
    },
  );

  it.each(["ping", "toEvent", "retry"] as const)("in %s fails the stream, and nothing else", async (hook) => {
    const s = await stage(endless, { pingInterval: 20, [hook]: rejecting });
    await new RawClient(s.port).request("GET", "/", { Connection: "close" }).ended();
    await until(() => s.over === 1);
    expect(s.passedOn).toEqual([expect.objectContaining({ name: "EventStreamError" })]);
  });
});

describe("an application that corks the response and does not uncork it", () => {
  it("still has everything sent before the end", async () => {
    const s = await stage(async function* (_req, { response }) {
      yield "hello";
      await until(() => response.headersSent);
      response.cork();
      response.write(": corked\n\n");
      yield "the last";
    });
    const client = new RawClient(s.port).request("GET", "/", { Connection: "close" });
    expect(await client.ended()).toContain("\r\n0\r\n\r\n");
    expect(client.body).toBe("data: hello\n\n: corked\n\ndata: the last\n\n");
    await s.hasEnded("completed", { returns: 0 });
  });

  it("still has everything sent before a failure cuts the stream", async () => {
    const s = await stage(async function* (_req, { response }) {
      yield "hello";
      await until(() => response.headersSent);
      response.cork();
      yield "the last";
      await Promise.resolve();
      throw new Error("source fails");
    });
    const client = new RawClient(s.port).request("GET", "/");
    expect(await client.ended()).not.toContain("\r\n0\r\n\r\n");
    expect(client.body).toBe("data: hello\n\ndata: the last\n\n");
    await s.hasEnded("error", { returns: 0 });
  });
});

describe("a stream whose timers are faked, or restored, before it ends", () => {
  const real = { setTimeout, clearTimeout, setInterval, clearInterval };

  /** Timers of their own, as fake ones are: nobody else's `clear…` stops them. */
  class Timers {
    readonly pending = new Set<unknown>();

    use(): void {
      const stop = (timer: NodeJS.Timeout): void => {
        if (this.pending.delete(timer)) real.clearTimeout(timer);
      };
      const start = (timer: NodeJS.Timeout): NodeJS.Timeout => {
        this.pending.add(timer);
        return timer;
      };
      vi.stubGlobal("setTimeout", (callback: () => void, delay: number) => {
        const timer = real.setTimeout(() => {
          this.pending.delete(timer);
          callback();
        }, delay);
        return start(timer);
      });
      vi.stubGlobal("setInterval", (callback: () => void, delay: number) => start(real.setInterval(callback, delay)));
      vi.stubGlobal("clearTimeout", stop);
      vi.stubGlobal("clearInterval", stop);
    }
  }

  afterEach(() => void vi.unstubAllGlobals());

  it("leaves none of either kind when the client leaves", async () => {
    const [before, after] = [new Timers(), new Timers()];
    before.use();
    const s = await stage(endless, { maxDuration: 3_600_000 });
    const client = new RawClient(s.port).request("GET", "/");
    await client.until("hello");
    // The pings, maxDuration and the look at the server.
    expect(before.pending.size).toBe(3);
    after.use();
    client.socket.destroy();
    await s.hasEnded("disconnected");
    expect([before.pending.size, after.pending.size]).toEqual([0, 0]);
  });

  it("leaves none of either kind when the source fails behind compression", async () => {
    const [before, after] = [new Timers(), new Timers()];
    before.use();
    const onError = (): void => void setImmediate(() => after.use());
    const headers = { "Cache-Control": "no-store" };
    const s = await stage(failing, { headers, onError }, [compression({ threshold: 0 })]);
    s.foreignListeners = ["ServerResponse drain"];
    await new RawClient(s.port).request("GET", "/", { "Accept-Encoding": "gzip" }).ended();
    await s.hasEnded("error", { returns: 0 });
    expect([before.pending.size, after.pending.size]).toEqual([0, 0]);
  });
});
