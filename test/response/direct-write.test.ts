import express, { type Request, type RequestHandler, type Response } from "express";
import { eventSource, type EventStream } from "express-event-source";
import { OutgoingMessage, type Server, ServerResponse } from "node:http";
import { afterEach, describe, expect, it, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { freshTurn, Gate, turn, until } from "../support/stage.js";
import { tlsConnection, tlsServer } from "../support/tls.js";

// Where nobody wraps the response, a chunk goes to its socket in one piece. Nobody must be able to tell, and whoever does
// wrap it must see everything.

afterEach(() => void vi.restoreAllMocks());

/** One event after the other, each when it is asked for. */
class Tap {
  res!: Response;
  #gates: Gate[] = [new Gate()];

  drip(): void {
    const gate = this.#gates.at(-1) as Gate;
    this.#gates.push(new Gate());
    gate.open();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (let n = 1; ; n++) {
      yield `${n} — é`;
      await (this.#gates[n - 1] as Gate).opened;
    }
  }
}

async function tapped(...middleware: RequestHandler[]): Promise<{ tap: Tap; port: number; server: Server }> {
  const tap = new Tap();
  const keep = (_req: Request, res: Response, next: () => void): void => {
    tap.res = res;
    next();
  };
  const { port, server } = await serve(
    express().get(
      "/",
      keep,
      ...middleware,
      eventSource(() => tap),
    ),
  );
  return { tap, port, server };
}

/** A tap whose first event has come. */
async function flowing(...middleware: RequestHandler[]): Promise<{ tap: Tap; client: RawClient }> {
  const { tap, port } = await tapped(...middleware);
  const client = new RawClient(port).request("GET", "/");
  await client.until(chunk(1));
  return { tap, client };
}

/** What an event is on the wire, as latin1. */
function chunk(n: number): string {
  const frame = Buffer.from(`data: ${n} — é\n\n`).toString("latin1");
  return `${frame.length.toString(16)}\r\n${frame}\r\n`;
}

/** The pieces in which the next events reach the socket. */
function pieces(tap: Tap): unknown[] {
  const write = vi.spyOn(tap.res.socket!, "write");
  return write.mock.calls;
}

const body = (client: RawClient): string => client.received.slice(client.received.indexOf("\r\n\r\n") + 4);

describe("a chunk of a response that nobody wraps", () => {
  it("goes to the socket in one piece, as Node would frame it", async () => {
    const { tap, client } = await flowing();
    const written = pieces(tap);
    tap.drip();
    await client.until(chunk(2));
    expect(written).toEqual([[`10\r\ndata: 2 — é\n\n\r\n`, "utf8"]]);
    expect(body(client)).toBe(chunk(1) + chunk(2));
  });

  it("leaves as latin1 if it is ASCII, which has the same bytes and needs no memory of its own", async () => {
    const opened = new Gate();
    let res!: Response;
    const { port } = await serve(
      express().get(
        "/",
        eventSource(async function* (_req, stream) {
          res = stream.response;
          yield "first";
          await opened.opened;
          yield "x".repeat(16_000);
          yield "last";
        }),
      ),
    );
    const client = new RawClient(port).request("GET", "/");
    await client.until("data: first\n\n");
    const write = vi.spyOn(res.socket!, "write");
    // Were the allowance spent, the next two would not be joined.
    await freshTurn();
    opened.open();
    await client.until("data: last\n\n");
    const [piece, encoding] = write.mock.calls[0] as unknown as [string, string];
    expect(encoding).toBe("latin1");
    expect(piece).toBe(`${(16_020).toString(16)}\r\ndata: ${"x".repeat(16_000)}\n\ndata: last\n\n\r\n`);
  });

  it("is one over TLS too", async () => {
    const tap = new Tap();
    const { port } = await serve(
      express().get(
        "/",
        eventSource(() => tap),
      ),
      await tlsServer(),
    );
    const client = new RawClient(port, tlsConnection(port)).request("GET", "/");
    await client.until(chunk(1));
    tap.drip();
    await client.until(chunk(2));
    expect(body(client)).toBe(chunk(1) + chunk(2));
  });

  it("follows what the application has corked", async () => {
    const { tap, client } = await flowing();
    tap.res.cork();
    tap.res.write(": corked\n\n");
    tap.drip();
    await turn();
    tap.res.uncork();
    await client.until("data: 2 ");
    expect(client.body.slice(client.body.indexOf("\n\n") + 2)).toBe(": corked\n\ndata: 2 — é\n\n");
  });

  it("follows what the response holds even where its socket is no longer corked", async () => {
    const { tap, client } = await flowing();
    tap.res.cork();
    tap.res.write(": held\n\n");
    tap.res.socket?.uncork();
    tap.drip();
    await turn();
    tap.res.uncork();
    await client.until("data: 2 ");
    expect(client.received.indexOf(": held")).toBeLessThan(client.received.indexOf("data: 2 "));
  });

  it("goes nowhere when the response no longer has the socket", async () => {
    const { tap, client } = await flowing();
    const { req, socket } = tap.res;
    tap.res.detachSocket(socket!);
    const other = new ServerResponse(req);
    other.assignSocket(socket!);
    other.setHeader("Content-Length", 4);
    other.write("AB");
    tap.drip();
    await turn();
    other.end("CD");
    await client.until("CD");
    expect(client.received.endsWith("\r\n\r\nABCD")).toBe(true);
    socket?.destroy();
  });

  it("that was held back is watched from when the response lets it go: a client that takes nothing is cut", async () => {
    let reason: string | undefined;
    const source = async function* (_req: Request, { response }: EventStream): AsyncGenerator<string> {
      yield "begun";
      await turn();
      while (response.writableLength === 0) {
        response.cork();
        yield "x".repeat(8_000);
        // What is joined leaves before that.
        await turn();
        response.uncork();
        await turn();
      }
      await new Promise(() => {});
    };
    const { port } = await serve(
      express().get(
        "/",
        eventSource(source, { sendTimeout: 400, pingInterval: false, onClose: (summary) => (reason = summary.reason) }),
      ),
    );
    const client = new RawClient(port);
    client.socket.pause();
    client.request("GET", "/");
    await until(() => reason !== undefined);
    expect(reason).toBe("timeout");
  });

  it("follows bytes, and comes before them", async () => {
    const { port } = await serve(
      express().get("/", eventSource(["a", Buffer.from("data: b\n\n"), "c", "d", Buffer.from("data: e\n\n"), "f"])),
    );
    const client = new RawClient(port).request("GET", "/", { Connection: "close" });
    await client.ended();
    expect(client.body).toBe("data: a\n\ndata: b\n\ndata: c\n\ndata: d\n\ndata: e\n\ndata: f\n\n");
  });

  it("waits for its turn where the request is pipelined", async () => {
    const first = new Tap();
    const second = new Tap();
    const { port } = await serve(
      express().get(
        "/:n",
        eventSource((req: Request<{ n: string }>) => (req.params.n === "1" ? first : second)),
      ),
    );
    const client = new RawClient(port).request("GET", "/1").request("GET", "/2");
    await client.until(chunk(1));
    second.drip();
    first.drip();
    await client.until(chunk(2));
    expect(body(client)).toBe(chunk(1) + chunk(2));
  });

  it("is not framed for a client of HTTP/1.0", async () => {
    const { tap, port } = await tapped();
    const client = new RawClient(port);
    client.socket.write("GET / HTTP/1.0\r\n\r\n");
    await client.until("data: 1 ");
    tap.drip();
    await client.until("data: 2 ");
    expect(body(client)).toBe(Buffer.from("data: 1 — é\n\ndata: 2 — é\n\n").toString("latin1"));
  });

  it("harms nothing that is on its way to a client that sends no more", async () => {
    const errors: Error[] = [];
    const { tap, port, server } = await tapped();
    server.on("clientError", (error) => errors.push(error));
    const client = new RawClient(port).request("GET", "/");
    await client.until(chunk(1));
    const { socket } = tap.res;
    // The server's side ends with it: what is written from now on has nowhere to go.
    socket?.on("end", () => tap.drip());
    client.socket.end();
    await client.ended();
    await turn();
    expect(errors).toEqual([]);
    expect(body(client).startsWith(chunk(1))).toBe(true);
  });

  it("makes room for the next one when the client reads again", async () => {
    const big = "x".repeat(100_000);
    const { port } = await serve(express().get("/", eventSource(Array.from({ length: 300 }, (_, n) => `${n} ${big}`))));
    const client = new RawClient(port);
    client.socket.pause();
    client.request("GET", "/", { Connection: "close" });
    await new Promise((resolve) => client.socket.once("readable", resolve));
    client.socket.resume();
    await client.ended();
    const numbers = client.body
      .split("\n\n")
      .slice(0, -1)
      .map((frame) => Number(frame.slice(6, frame.indexOf(" ", 6))));
    expect(numbers).toEqual(Array.from({ length: 300 }, (_, n) => n));
  });
});

describe("whoever wraps the response", () => {
  const wrapping =
    (seen: string[]) =>
    (_req: Request, res: Response, next: () => void): void => {
      const write = res.write.bind(res) as (chunk: unknown) => boolean;
      res.write = (chunk: unknown) => (seen.push(String(chunk)), write(chunk));
      next();
    };

  it("sees every chunk", async () => {
    const seen: string[] = [];
    const { tap, client } = await flowing(wrapping(seen));
    tap.drip();
    await client.until(chunk(2));
    expect(seen).toEqual(["data: 1 — é\n\n", "data: 2 — é\n\n"]);
  });

  it("sees every chunk from the moment it does so", async () => {
    const seen: string[] = [];
    const { tap, client } = await flowing();
    tap.drip();
    await client.until(chunk(2));
    wrapping(seen)(tap.res.req, tap.res, () => {});
    tap.drip();
    await client.until(chunk(3));
    expect(seen).toEqual(["data: 3 — é\n\n"]);
  });

  it("and keeps the first chunk for later is not overtaken, even when it has gone", async () => {
    let isHeld = false;
    let release = (): void => {};
    const { tap, port } = await tapped((_req, res, next) => {
      const write = res.write.bind(res) as (chunk: string) => boolean;
      res.write = ((text: string) => {
        // The head is made, but not sent.
        res.writeHead(200);
        release = () => write(text);
        isHeld = true;
        delete (res as Partial<Response>).write;
        return true;
      }) as typeof res.write;
      next();
    });
    const client = new RawClient(port).request("GET", "/");
    await until(() => isHeld);
    tap.drip();
    await client.until("data: 2");
    release();
    await client.until("data: 1");
    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it.each([
    ["every response", OutgoingMessage.prototype],
    ["every server's response", ServerResponse.prototype],
  ] as const)("sees every chunk where it wraps %s, as tools that watch an application do", async (_what, prototype) => {
    const write = vi.spyOn(prototype, "write");
    const { tap, client } = await flowing();
    tap.drip();
    await client.until(chunk(2));
    expect(write.mock.calls.map(([text]) => text as unknown)).toEqual(["data: 1 — é\n\n", "data: 2 — é\n\n"]);
  });
});
