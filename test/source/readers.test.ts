import { EventEmitter, on, once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import express from "express";
import {
  eventSource,
  type EventSourceOptions,
  type EventStreamItem,
  type EventStreamSource,
  type StreamSummary,
} from "express-event-source";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { readSource } from "../../src/source/readers.js";
import { RawClient } from "../support/raw-client.js";
import { serve, type TestServer } from "../support/server.js";
import { Gate } from "../support/stage.js";

/** Serves the source at `/`, errors as their message with status 500. */
async function streaming<Item = EventStreamItem>(
  source: EventStreamSource<Item>,
  options: EventSourceOptions<Item> = {},
): Promise<TestServer> {
  const app = express();
  app.get("/", eventSource(source as EventStreamSource, options as EventSourceOptions));
  app.use(((error, _req, res, next) => {
    if (res.headersSent) next(error);
    else res.status(500).send((error as Error).message);
  }) as express.ErrorRequestHandler);
  app.set("env", "test");
  return serve(app);
}

async function text(url: string): Promise<string> {
  return (await fetch(url)).text();
}

async function* generator(): AsyncGenerator<number> {
  yield 1;
  yield 2;
}
function* syncGenerator(): Generator<number> {
  yield 1;
  yield 2;
}
const both = "data: 1\n\ndata: 2\n\n";

describe("each form of source is streamed", () => {
  it.each<[form: string, make: () => EventStreamSource]>([
    ["an async generator", () => generator()],
    ["a generator", () => syncGenerator()],
    ["an array", () => [1, 2]],
    ["a Set", () => new Set([1, 2])],
    ["a function that returns an async generator", () => generator],
    ["a function that returns a generator", () => syncGenerator],
    ["a function that returns an array", () => () => [1, 2]],
    ["a function that returns a promise of one", () => async () => generator()],
    [
      "a function that returns a thenable of one",
      () => () => ({ then: (resolve) => resolve?.([1, 2]) }) as PromiseLike<number[]>,
    ],
    [
      "a function that returns a thenable that can be called",
      () => () =>
        Object.assign(() => {}, { then: (resolve: (source: number[]) => void) => void resolve([1, 2]) }) as never,
    ],
    ["an iterable of promises", () => [Promise.resolve(1), 2]],
    [
      "an async iterable without return()",
      () => ({
        [Symbol.asyncIterator]() {
          let n = 0;
          return { next: async () => ({ done: n === 2, value: ++n }) as IteratorResult<number> };
        },
      }),
    ],
    [
      "an async iterator whose next() is synchronous",
      () => ({
        [Symbol.asyncIterator]() {
          let n = 0;
          return { next: () => ({ done: n === 2, value: ++n }) } as unknown as AsyncIterator<number>;
        },
      }),
    ],
    ["a ReadableStream", () => () => ReadableStream.from([1, 2])],
    ["a Readable in object mode", () => () => Readable.from([1, 2])],
    [
      "a PassThrough in object mode",
      () => () => {
        const channel = new PassThrough({ objectMode: true });
        channel.write(1);
        channel.end(2);
        return channel;
      },
    ],
  ])("%s", async (_form, make) => {
    const { url } = await streaming(make());
    expect(await text(url)).toBe(both);
  });

  it("events.on()", async () => {
    const emitter = new EventEmitter();
    const { url } = await streaming((_req, { signal }) => on(emitter, "n", { signal, close: ["end"] }), {
      toEvent: ([n]: number[]) => Number(n),
    });
    const response = await fetch(url);
    emitter.emit("n", 1);
    emitter.emit("n", 2);
    emitter.emit("end");
    expect(await response.text()).toBe(both);
    expect(emitter.eventNames()).toEqual([]);
  });

  it("bytes of a ReadableStream and of a Readable, unchanged", async () => {
    const frames = "id: 1\ndata: é\n\n: raw\n\n";
    for (const make of [() => new Blob([frames]).stream(), () => Readable.from([Buffer.from(frames)])]) {
      const { url } = await streaming(make);
      expect(await text(url)).toBe(frames);
    }
  });

  it.each<[what: string, source: EventStreamSource]>([
    ["null", () => null],
    ["a promise of null", async () => null],
    ["an empty array", []],
    ["an empty generator", async function* () {}],
    ["an empty ReadableStream", () => ReadableStream.from([])],
    ["an ended Readable", () => Readable.from([])],
  ])("and %s is answered with 204", async (_what, source) => {
    const { url } = await streaming(source);
    const response = await fetch(url);
    expect(response.status).toBe(204);
    expect(response.headers.get("content-type")).toBeNull();
    expect(await response.text()).toBe("");
  });

  it.each<[what: string, value: unknown, shown: string]>([
    ["a string", "text", '"text"'],
    ["a number", 5, "5"],
    ["an object", { data: 1 }, "{ data }"],
    ["bytes", new Uint8Array(2), "an instance of Uint8Array"],
    ["a function", generator, "function generator"],
  ])("a function that returns %s is told what to return", async (_what, value, shown) => {
    for (const source of [() => value, async () => value]) {
      const { url } = await streaming(source as EventStreamSource);
      const response = await fetch(url);
      expect(response.status).toBe(500);
      expect(await response.text()).toBe(
        `The source is ${shown}; it must be an async iterable (a generator, a stream, …), an iterable, or null for nothing.`,
      );
    }
  });
});

it("eventSource as the handler itself is answered with how to call it", async () => {
  const app = express();
  app.get("/", eventSource as unknown as express.RequestHandler);
  app.use(((error, _req, res, _next) => {
    res.status(500).send((error as Error).message);
  }) as express.ErrorRequestHandler);
  const { url } = await serve(app);
  const response = await fetch(url);
  expect(response.status).toBe(500);
  expect(await response.text()).toMatch(/, so call it: eventSource\(source\)\.$/);
});

describe("an iterator that somebody wrote by hand is read as for await reads it", () => {
  const handmade = (results: readonly unknown[]): { next: () => unknown; return: () => unknown } => {
    const left = results.values();
    return { next: () => left.next().value, return: returned };
  };
  const returned = vi.fn(() => ({ done: true, value: undefined }));
  beforeEach(() => void returned.mockClear());

  it.each([1, "yes", {}])("done: %j ends it", async (done) => {
    const results = [
      { value: 1 },
      { done: 0, value: 2 },
      { done, value: 3 },
      { value: "after the end" },
      { done: true },
    ];
    for (const source of [
      { [Symbol.iterator]: () => handmade(results) },
      { [Symbol.asyncIterator]: () => handmade(results) },
    ]) {
      const { url } = await streaming(() => source as Iterable<number>);
      expect(await text(url)).toBe(both);
    }
    expect(returned).not.toHaveBeenCalled();
  });

  it.each([
    ["nothing", undefined, "undefined"],
    ["null", null, "null"],
    ["a number", 5, "5"],
    ["a string", "text", '"text"'],
  ])("a result that is %s is an error, and no reason to call return()", async (_what, result, shown) => {
    for (const source of [
      { [Symbol.iterator]: () => handmade([result]) },
      { [Symbol.asyncIterator]: () => handmade([result]) },
      { [Symbol.asyncIterator]: () => handmade([Promise.resolve(result)]) },
    ]) {
      const { url } = await streaming(() => source as AsyncIterable<number>);
      const response = await fetch(url);
      expect(response.status).toBe(500);
      expect(await response.text()).toBe(
        `The source's next() returned ${shown}; it must return { value, done }, or a promise of that.`,
      );
    }
    expect(returned).not.toHaveBeenCalled();
  });

  it("a then() that returns nothing gives its value all the same", async () => {
    const thenable = (value: number): PromiseLike<number> =>
      ({ then: (resolve: (value: number) => void) => void resolve(value) }) as unknown as PromiseLike<number>;
    const { url } = await streaming([thenable(1), thenable(2)]);
    expect(await text(url)).toBe(both);
  });

  it("a generator that returns a promise ends when that is fulfilled, and fails when it rejects", async () => {
    const { url } = await streaming(function* () {
      yield 1;
      yield 2;
      return Promise.resolve(3);
    });
    expect(await text(url)).toBe(both);
    const failing = await streaming(function* () {
      return Promise.reject(new Error("no result"));
    });
    const response = await fetch(failing.url);
    expect(response.status).toBe(500);
    expect(await response.text()).toBe("no result");
  });
});

describe("a one-shot source that a second request reaches", () => {
  it.each<[what: string, make: () => EventStreamSource]>([
    ["an async generator", () => generator()],
    ["a generator", () => syncGenerator()],
    ["a Readable", () => Readable.from([1, 2])],
    ["a PassThrough", () => Readable.from([1, 2]).pipe(new PassThrough({ objectMode: true }))],
    ["a ReadableStream", () => ReadableStream.from([1, 2])],
    ["events.on()", () => on(new EventEmitter(), "n", { signal: AbortSignal.timeout(1) }) as AsyncIterable<never>],
  ])("is refused for %s, with what to write instead", async (what, make) => {
    const { url } = await streaming(make());
    const first = await text(url).catch(() => undefined);
    if (what !== "events.on()") expect(first).toBe(both);
    const second = await fetch(url);
    expect(second.status).toBe(500);
    expect(await second.text()).toMatch(
      /^The source is a one-shot iterator .* that another request has read; pass a function that makes a new one for each request: eventSource\(\(\) => …\)\.$/,
    );
  });

  it("is refused while the first still reads, which goes on undisturbed", async () => {
    const gate = new Gate();
    const { url } = await streaming(
      (async function* () {
        yield 1;
        await gate.opened;
        yield 2;
      })(),
    );
    const first = await fetch(url);
    expect((await fetch(url)).status).toBe(500);
    gate.open();
    expect(await first.text()).toBe(both);
  });

  it("is no matter for what can be iterated again", async () => {
    const { url } = await streaming(new Set([1, 2]));
    expect(await text(url)).toBe(both);
    expect(await text(url)).toBe(both);
  });
});

describe("when the client leaves", () => {
  /** Lets a client get the first event of an endless source and leave. */
  async function leave(source: EventStreamSource, options: EventSourceOptions = {}): Promise<StreamSummary> {
    const ended = new Gate<StreamSummary>();
    const { port } = await streaming(source, { ...options, onClose: ended.open });
    const client = new RawClient(port).request("GET", "/");
    await client.until("data: 1\n\n");
    client.socket.destroy();
    return ended.opened;
  }

  it("a generator that waits on the signal runs its finally block", async () => {
    const freed = new Gate<unknown>();
    const summary = await leave(async function* (_req, { signal }) {
      try {
        yield 1;
        await once(new EventEmitter(), "never", { signal });
      } finally {
        freed.open(signal.reason);
      }
    });
    expect(await freed.opened).toBe("disconnected");
    expect(summary.reason).toBe("disconnected");
  });

  it("a ReadableStream is cancelled though a read is pending", async () => {
    const cancelled = new Gate();
    await leave(
      () => new ReadableStream({ start: (controller) => controller.enqueue(1), cancel: () => cancelled.open() }),
    );
    await cancelled.opened;
  });

  it("a PassThrough is destroyed though nothing comes", async () => {
    const channel = new PassThrough({ objectMode: true });
    channel.write(1);
    const closed = once(channel, "close");
    await leave(() => channel);
    await closed;
    expect(channel.destroyed).toBe(true);
  });

  it("events.on() takes its listeners off", async () => {
    const emitter = new EventEmitter();
    const ended = new Gate<StreamSummary>();
    const { port } = await streaming(() => on(emitter, "n"), { onClose: ended.open, toEvent: () => 1 });
    const client = new RawClient(port).request("GET", "/");
    await client.until("200 OK");
    emitter.emit("n");
    await client.until("data: 1\n\n");
    client.socket.destroy();
    await ended.opened;
    expect(emitter.eventNames()).toEqual([]);
  });

  it("return() of a hand-made iterator is called once, and its rejection troubles nobody", async () => {
    let returns = 0;
    let asked = 0;
    await leave(() => ({
      [Symbol.asyncIterator]: () => ({
        next: () => (++asked === 1 ? Promise.resolve({ done: false, value: 1 }) : new Promise<never>(() => {})),
        return: () => {
          returns += 1;
          return Promise.reject(new Error("nobody wants to know"));
        },
      }),
    }));
    expect(returns).toBe(1);
  });

  it("an error of a stream's clean-up troubles nobody", async () => {
    const cleaned = new Gate();
    await leave(
      () =>
        new Readable({
          objectMode: true,
          read() {
            if (this.readableDidRead) return;
            this.push(1);
          },
          destroy(_error, callback) {
            callback(new Error("clean-up failed"));
            cleaned.open();
          },
        }),
    );
    await cleaned.opened;
  });

  it("a source that comes only then is let go at once", async () => {
    const late = new Gate<PassThrough>();
    const asked = new Gate();
    const { port } = await streaming((_req, { signal }) => {
      signal.addEventListener("abort", () => late.open(channel));
      asked.open();
      return late.opened;
    });
    const channel = new PassThrough({
      objectMode: true,
      destroy: (_error, callback) => callback(new Error("clean-up failed")),
    });
    const closed = new Promise((resolve) => channel.on("close", resolve));
    const client = new RawClient(port).request("GET", "/");
    await asked.opened;
    client.socket.destroy();
    await closed;
    expect(channel.destroyed).toBe(true);
  });
});

describe("a pushing producer", () => {
  it("is held back by its PassThrough when the client does not read", async () => {
    const channel = new PassThrough({ objectMode: true, highWaterMark: 4 });
    onTestFinished(() => void channel.destroy());
    const { port } = await streaming(() => channel);
    const client = new RawClient(port).request("GET", "/");
    channel.write("first");
    await client.until("data: first\n\n");
    client.socket.pause();
    const chunk = "x".repeat(100_000);
    let held = false;
    for (let n = 0; n < 1_000 && !held; n++) {
      held =
        !channel.write(chunk) &&
        !(await Promise.race([
          once(channel, "drain").then(() => true),
          new Promise((resolve) => setTimeout(resolve, 200, false)),
        ]));
    }
    expect(held).toBe(true);
    client.socket.resume();
    if (channel.writableNeedDrain) await once(channel, "drain");
    channel.end("last");
    await client.until("data: last\n\n");
  });

  it("is pulled by a ReadableStream only as the client takes", async () => {
    const { opened: stalled, open: stall } = new Gate();
    let pulled = 0;
    let timer: NodeJS.Timeout | undefined;
    const { port } = await streaming(
      () =>
        new ReadableStream({
          pull(controller) {
            pulled += 1;
            clearTimeout(timer);
            timer = setTimeout(stall, 200);
            if (pulled === 2_000) controller.close();
            else controller.enqueue("x".repeat(100_000));
          },
        }),
    );
    const client = new RawClient(port).request("GET", "/");
    await client.until("data: x");
    client.socket.pause();
    await stalled;
    expect(pulled).toBeLessThan(1_000);
    client.socket.destroy();
  });
});

describe("an iterable of promises", () => {
  it("is returned when one of them rejects", async () => {
    const returned = vi.fn(() => ({ done: true, value: undefined }));
    const reader = readSource({
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: Promise.reject(new Error("no")) }),
        return: returned,
      }),
    });
    await expect(reader.next()).rejects.toThrow("no");
    expect(returned).toHaveBeenCalledTimes(1);
  });
});
