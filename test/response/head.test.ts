import express from "express";
import { eventSource, type EventSourceOptions, type EventStreamSource } from "express-event-source";
import { describe, expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { turn } from "../support/stage.js";

/** The head as it went over the wire, without what Node adds by itself. */
async function head(
  options: EventSourceOptions = {},
  source: EventStreamSource = [1],
  method = "GET",
): Promise<string[]> {
  const app = express().disable("x-powered-by");
  app.use((_req, res, next) => {
    res.setHeader("X-Before", "kept");
    res.setHeader("Cache-Control", "max-age=1");
    next();
  });
  app.get("/", eventSource(source, options));
  const { port } = await serve(app);
  const client = new RawClient(port).request(method, "/", { Connection: "close" });
  await client.ended();
  const lines = client.received.slice(0, client.received.indexOf("\r\n\r\n")).split("\r\n");
  return lines.filter((line) => !/^(Date|Connection|Transfer-Encoding):/.test(line));
}

const defaults = [
  "HTTP/1.1 200 OK",
  "X-Before: kept",
  "Cache-Control: no-store, no-transform",
  "Content-Type: text/event-stream; charset=utf-8",
  "X-Accel-Buffering: no",
];

describe("the one turn of the event loop that a source has before the head", () => {
  it("is a whole one for each of those who come together", async () => {
    const app = express();
    const arrived: (() => void)[] = [];
    app.use((_req, _res, next) => {
      arrived.push(next);
      // All of them in one turn.
      if (arrived.length === 4) for (const goOn of arrived) goOn();
    });
    app.get(
      "/fails",
      eventSource(async function* (): AsyncGenerator<number> {
        await turn();
        throw new Error("late");
      }),
    );
    app.get(
      "/ends",
      eventSource(async function* (): AsyncGenerator<number> {
        await turn();
      }),
    );
    app.use(((_error, _req, res, _next) => void res.status(500).end()) as express.ErrorRequestHandler);
    const { port } = await serve(app);
    const clients = ["/fails", "/ends", "/ends", "/fails"].map((path) =>
      new RawClient(port).request("GET", path, { Connection: "close" }),
    );
    await Promise.all(clients.map((client) => client.ended()));
    expect(clients.map(({ received }) => received.split(" ")[1])).toEqual(["500", "204", "204", "500"]);
  });
});

describe("the head", () => {
  it("says what the stream is, and that nobody is to keep, change or hold it", async () => {
    expect(await head()).toEqual(defaults);
  });

  it("has the user's headers, which are stronger, whatever their case", async () => {
    expect(
      await head({
        headers: { "cache-control": "public, max-age=29", "X-Number": 5, "Content-Type": "text/event-stream" },
      }),
    ).toEqual([
      "HTTP/1.1 200 OK",
      "X-Before: kept",
      "cache-control: public, max-age=29",
      "Content-Type: text/event-stream",
      "X-Accel-Buffering: no",
      "X-Number: 5",
      "Vary: Last-Event-ID",
    ]);
  });

  it("lacks what the user sets to undefined, the application's own headers included", async () => {
    expect(
      await head({ headers: { "x-accel-buffering": undefined, "X-Before": undefined, "Cache-Control": undefined } }),
    ).toEqual(["HTTP/1.1 200 OK", "Content-Type: text/event-stream; charset=utf-8", "Vary: Last-Event-ID"]);
  });

  it("has one line for each value of an array", async () => {
    const lines = await head({ headers: { "Set-Cookie": ["a=1; Path=/", "b=2"] } });
    expect(lines.filter((line) => line.startsWith("Set-Cookie"))).toEqual([
      "Set-Cookie: a=1; Path=/",
      "Set-Cookie: b=2",
    ]);
  });

  it.each<[given: string | string[] | undefined, cacheControl: string, vary: string | undefined]>([
    ["Origin, Accept-Encoding", "public, max-age=29", "Origin, Accept-Encoding, Last-Event-ID"],
    [["Origin", "Accept"], "max-age=29", "Origin, Accept, Last-Event-ID"],
    ["last-event-id", "max-age=29", "last-event-id"],
    ["*", "max-age=29", "*"],
    ["Origin", "private, NO-STORE", "Origin"],
    [undefined, "no-store, no-transform", undefined],
    [undefined, "x-no-store-here", "Last-Event-ID"],
  ])(
    "lets no cache give one client's events to another: Vary %j with Cache-Control %j is %j",
    async (given, cacheControl, vary) => {
      const lines = await head({ headers: { Vary: given, "Cache-Control": cacheControl } });
      const varies = lines.filter((line) => line.startsWith("Vary: ")).map((line) => line.slice(6));
      expect(varies).toEqual(vary === undefined ? [] : [vary]);
    },
  );

  it.each([
    ["public, max-age=29", "no-store"],
    ["private, no-store", "private, no-store"],
    [undefined, "no-store"],
  ])("of a 204 lets no cache keep it, whatever the application says of the stream: %j", async (given, sent) => {
    const lines = await head({ headers: { "Cache-Control": given, "X-Own": "kept" } }, () => null);
    expect(lines).toContain("X-Own: kept");
    expect(lines.filter((line) => /^cache-control: /i.test(line))).toEqual([`Cache-Control: ${sent}`]);
  });

  it.each([[201], [299], [404], [503]])("has the status %d", async (status) => {
    expect((await head({ status }))[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it("is the same for HEAD", async () => {
    expect(await head({}, [1], "HEAD")).toEqual(defaults);
  });

  it("has the user's headers and no type where nothing is to be streamed", async () => {
    expect(
      await head(
        { status: 503, headers: { "Access-Control-Allow-Origin": "*", "Set-Cookie": ["a=1", "b=2"] } },
        () => null,
      ),
    ).toEqual([
      "HTTP/1.1 204 No Content",
      "X-Before: kept",
      "Cache-Control: no-store, no-transform",
      "X-Accel-Buffering: no",
      "Access-Control-Allow-Origin: *",
      "Set-Cookie: a=1",
      "Set-Cookie: b=2",
    ]);
  });
});

describe("the source has one turn of the event loop before the head goes out", () => {
  const ticks = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await Promise.resolve();
  };

  it.each<[what: string, source: EventStreamSource, status: string]>([
    [
      "that ends within it gets 204",
      async function* () {
        await ticks(50);
      },
      "204 No Content",
    ],
    [
      "that throws within it gets an HTTP error",
      async function* () {
        await ticks(50);
        throw new Error("secret");
      },
      "500 Internal Server Error",
    ],
    [
      "that takes the whole turn and throws gets an HTTP error",
      async function* () {
        await turn();
        throw new Error("secret");
      },
      "500 Internal Server Error",
    ],
    [
      "that takes the whole turn and ends gets 204",
      async function* () {
        await turn();
      },
      "204 No Content",
    ],
    [
      "whose promise comes late and that ends within it gets 204",
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return (async function* () {
          await ticks(50);
        })();
      },
      "204 No Content",
    ],
    [
      "whose promise comes late, and is null, gets 204",
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 10));
        return null;
      },
      "204 No Content",
    ],
    [
      "that ends after it gets an empty stream",
      async function* () {
        await new Promise((resolve) => setTimeout(resolve, 20));
      },
      "200 OK",
    ],
  ])("a source %s", async (_what, source, status) => {
    const app = express();
    app.get("/", eventSource(source));
    app.use(((_error, _req, res, _next) => void res.status(500).end()) as express.ErrorRequestHandler);
    const { port } = await serve(app);
    const client = new RawClient(port).request("GET", "/", { Connection: "close" });
    expect(await client.ended()).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
  });

  it("and then the head comes although the first item is of no byte", async () => {
    const app = express();
    app.get(
      "/",
      eventSource(
        async function* () {
          yield new Uint8Array();
          await new Promise(() => {});
        },
        { pingInterval: false },
      ),
    );
    const { port } = await serve(app);
    expect(await new RawClient(port).request("GET", "/").until("\r\n\r\n")).toContain("text/event-stream");
  });

  it("and then the head comes without an event", async () => {
    const app = express();
    app.get(
      "/",
      eventSource(async function* () {
        await new Promise(() => {});
      }),
    );
    const { port } = await serve(app);
    const client = new RawClient(port).request("GET", "/");
    expect(await client.until("\r\n\r\n")).toContain("text/event-stream");
    expect(client.body).toBe("");
  });
});
