import compression from "compression";
import type { EventSourceOptions } from "express-event-source";
import { randomBytes } from "node:crypto";
import { get, type IncomingMessage } from "node:http";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { aborted, failOnAbort, failOnWarnings, fakeTimers, Gate, stage, type Stage, until } from "../support/stage.js";

failOnWarnings();

const decoders = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress };
type Coding = keyof typeof decoders;

/** The middleware with nothing too small for it. */
const compress = () => compression({ threshold: 0 });

/** Opts in: without `no-transform` the middleware takes the stream. */
const optedIn = { "Cache-Control": "no-store" };

/** Text that cannot be compressed to less than half. */
const noise = (bytes: number): string => randomBytes(bytes).toString("hex");

/** A client that takes a compressed stream apart as it comes. */
class Decoder {
  text = "";
  /** Whether the response ended as it should, or was cut; undefined while it runs. */
  end: "ended" | "cut" | undefined;
  response: IncomingMessage | undefined;

  constructor(s: Stage, coding: Coding) {
    const request = get(s.url, { headers: { "Accept-Encoding": coding }, agent: false }, (response) => {
      this.response = response;
      expect(response.headers["content-encoding"]).toBe(coding);
      const decoder = decoders[coding]();
      decoder.on("data", (chunk: Buffer) => (this.text += chunk.toString()));
      decoder.on("end", () => (this.end = "ended"));
      // When the decoder has taken everything apart: told of its end, it would fail, and throw away what it still has.
      response.on("error", () => decoder.write("", () => setImmediate(() => (this.end = "cut"))));
      response.on("data", (chunk: Buffer) => decoder.write(chunk));
      response.on("end", () => decoder.end());
    });
    request.on("error", () => (this.end = "cut"));
    onTestFinished(() => void request.destroy());
  }

  has(text: string): Promise<void> {
    return until(() => this.text.includes(text));
  }
}

async function compressed(
  source: ConstructorParameters<typeof Stage>[0],
  coding: Coding,
  options: EventSourceOptions<never> = {},
) {
  const s = await stage(source, { headers: optedIn, ...options }, [compress()]);
  s.foreignListeners = ["ServerResponse drain"];
  return { s, client: new Decoder(s, coding) };
}

it("passes a stream untouched by default", async () => {
  const s = await stage(() => ["one", "two"], {}, [compress()]);
  const client = new RawClient(s.port).request("GET", "/", { "Accept-Encoding": "gzip, deflate, br" });
  await client.until("\r\n0\r\n\r\n");
  expect(client.received).not.toMatch(/content-encoding/i);
  expect(client.body).toBe("data: one\n\ndata: two\n\n");
  await s.hasEnded("completed", { returns: 0 });
});

for (const coding of ["gzip", "deflate", "br"] as const) {
  describe(`opted in, with ${coding}`, () => {
    it("sends the head and each event at once", async () => {
      let more = new Gate();
      const { s, client } = await compressed(async function* () {
        for (let n = 0; n < 30; n++) {
          await more.opened;
          more = new Gate();
          yield `event ${n}`;
        }
      }, coding);
      await until(() => client.response !== undefined);
      for (let n = 0; n < 30; n++) {
        more.open();
        await client.has(`data: event ${n}\n\n`);
      }
      await until(() => client.end === "ended");
      await s.hasEnded("completed", { returns: 0 });
      expect(s.passedOn).toEqual([]);
    });

    describe("with fake timers", () => {
      fakeTimers();

      it("sends the first retry, pings and a farewell at once", async () => {
        let pings = 0;
        const { s, client } = await compressed(
          async function* (_req, { signal }) {
            await failOnAbort(signal);
          },
          coding,
          { retry: 1_234, pingInterval: 1_000, maxDuration: 10_000, ping: () => ({ comment: `ping ${++pings}` }) },
        );
        await client.has("retry: 1234\n\n");
        for (let n = 1; n <= 5; n++) {
          vi.advanceTimersByTime(1_000);
          await client.has(`: ping ${n}\n\n`);
        }
        vi.advanceTimersByTime(5_000);
        await until(() => client.end === "ended");
        await s.hasEnded("expired");
      });
    });

    it("lets the source go when the client leaves", async () => {
      const { s, client } = await compressed(async function* (_req, { signal }) {
        yield "hello";
        await failOnAbort(signal);
      }, coding);
      await client.has("hello");
      client.response?.destroy();
      await s.hasEnded("disconnected");
      await until(() => s.sockets.size === 0);
    });

    it("asks for no more than a client takes that reads nothing, and cuts it after sendTimeout", async () => {
      let asked = 0;
      const { s, client } = await compressed(
        async function* () {
          for (; asked < 4_000; asked++) {
            yield noise(25_000);
          }
        },
        coding,
        { sendTimeout: 400 },
      );
      await until(() => client.response !== undefined);
      client.response?.pause();
      const summary = await s.hasEnded("timeout");
      expect(asked).toBeLessThan(1_000);
      expect(summary.bytes).toBeLessThan(50_000_000);
      await until(() => s.sockets.size === 0);
    });

    it("brings a slow client everything, in order", async () => {
      const { s, client } = await compressed(async function* () {
        for (let n = 0; n < 2_000; n++) yield `${n} ${"x".repeat(1_000)}`;
      }, coding);
      await until(() => client.response !== undefined);
      const { response } = client;
      // A little of it at a time.
      const timer = setInterval(() => (response?.isPaused() === true ? response.resume() : response?.pause()), 1);
      onTestFinished(() => clearInterval(timer));
      await until(() => client.end === "ended");
      expect(client.text.match(/(?<=data: )\d+/g)).toEqual(Array.from({ length: 2_000 }, (_, n) => String(n)));
      await s.hasEnded("completed", { returns: 0 });
    });

    it("brings what was written before a failure, and then cuts", async () => {
      const boom = new Error("boom");
      const { s, client } = await compressed(async function* () {
        yield "first";
        yield "last words";
        throw boom;
      }, coding);
      await until(() => client.end !== undefined);
      expect(client.end).toBe("cut");
      expect(client.text).toBe("data: first\n\ndata: last words\n\n");
      await s.hasEnded("error", { returns: 0 });
      expect(s.passedOn).toEqual([boom]);
    });

    it("brings what was written before a failure to a client that is slow to take it, and then cuts", async () => {
      let n = 0;
      const { s, client } = await compressed(async function* (_req, { response }) {
        // Until the system takes no more, and the middleware holds the rest.
        for (; response.writableLength === 0; n++) {
          yield `${n} ${noise(30_000)}`;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        throw new Error("boom");
      }, coding);
      await until(() => client.response !== undefined);
      client.response?.pause();
      await until(() => s.streams[0]?.signal.aborted === true);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(client.end).toBe(undefined);
      client.response?.resume();
      await until(() => client.end !== undefined);
      expect(client.end).toBe("cut");
      expect(client.text.match(/(?<=data: )\d+(?= )/g)).toEqual(Array.from({ length: n }, (_, i) => String(i)));
      expect(client.text).toMatch(/\n\n$/);
      await s.hasEnded("error", { returns: 0 });
    });

    it("brings onError's event, and ends", async () => {
      const { s, client } = await compressed(
        async function* () {
          yield "first";
          throw new Error("boom");
        },
        coding,
        { onError: () => ({ event: "failed", data: "sorry" }) },
      );
      await until(() => client.end !== undefined);
      expect([client.end, client.text]).toEqual(["ended", "data: first\n\nevent: failed\ndata: sorry\n\n"]);
      await s.hasEnded("error", { returns: 0 });
    });

    it("ends with a farewell when the server closes", async () => {
      const { s, client } = await compressed(
        async function* (_req, { shutdown }) {
          yield "hello";
          await aborted(shutdown);
          yield "farewell";
        },
        coding,
        { shutdownGracePeriod: 2_000 },
      );
      await client.has("hello");
      await new Promise((resolve) => s.server.close(resolve));
      await until(() => client.end === "ended");
      expect(client.text).toContain("data: farewell\n\n");
      await s.hasEnded("shutdown", { returns: 0 });
    });
  });
}
