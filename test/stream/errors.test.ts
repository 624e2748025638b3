import express5, { type NextFunction, type Request, type Response } from "express";
import { eventSource, EventStreamError, type EventSourceOptions, type EventStreamSource } from "express-event-source";
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { serve } from "../support/server.js";
import { failOnWarnings, until } from "../support/stage.js";

failOnWarnings();

const express4 = createRequire(import.meta.url)("express4") as typeof express5;

const secret = "boom: a secret of the server's";

class Teapot extends Error {
  readonly status = 418;
}

for (const [version, express] of [
  ["Express 5", express5],
  ["Express 4", express4],
] as const) {
  /** An application with one route and an error handler of its own, which answers with the error's status. */
  async function application(
    source: EventStreamSource<unknown>,
    options: Omit<EventSourceOptions<unknown>, "toEvent"> = {},
    { ownHandler = true } = {},
  ) {
    const passedOn: unknown[] = [];
    const app = express();
    // Express's own error handler prints what it gets, except in tests.
    app.set("env", "test");
    app.all("/", eventSource(source, { ...options, toEvent: (item) => item as string }));
    if (ownHandler) {
      app.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
        passedOn.push(error);
        if (res.headersSent) next(error);
        else res.status((error as Partial<Teapot>).status ?? 500).send("the application's own words");
      });
    }
    const { url } = await serve(app);
    return { url, passedOn };
  }

  describe(`before the head, on ${version}`, () => {
    const failing: Record<string, EventStreamSource<unknown>> = {
      "a function that throws": () => {
        throw new Teapot(secret);
      },
      "a function whose promise rejects, however late": async () => {
        await new Promise((resolve) => setTimeout(resolve, 30));
        throw new Teapot(secret);
      },

      "a generator that throws at once": async function* () {
        throw new Teapot(secret);
      },
      "an iterator that throws": () => ({
        [Symbol.asyncIterator]: () => ({
          next: () => {
            throw new Teapot(secret);
          },
        }),
      }),
      "an iterable that cannot be iterated": () => ({
        [Symbol.asyncIterator]: () => {
          throw new Teapot(secret);
        },
      }),
    };

    for (const [name, source] of Object.entries(failing)) {
      it(`answers with the error handler's status for ${name}`, async () => {
        const { url, passedOn } = await application(source);
        const response = await fetch(url);
        expect([response.status, await response.text()]).toEqual([418, "the application's own words"]);
        expect(response.headers.get("content-type")).toContain("text/html");
        expect(response.headers.get("x-accel-buffering")).toBeNull();
        expect(passedOn).toEqual([expect.any(Teapot)]);
      });
    }

    for (const [name, source, code] of [
      ["what is no source", () => "text" as never, "ERR_INVALID_SOURCE"],
      ["a first item that is no event", () => [null], "ERR_INVALID_ITEM"],
      ["a first event with an unknown field", () => [{ dada: 1 }], "ERR_UNKNOWN_FIELD"],
      ["a first event that cannot be serialized", () => [{ data: [1n] }], "ERR_UNSERIALIZABLE_DATA"],
    ] as const) {
      it(`answers with a 500 for ${name}`, async () => {
        const { url, passedOn } = await application(source);
        const response = await fetch(url);
        expect(response.status).toBe(500);
        expect(passedOn).toEqual([expect.objectContaining({ name: "EventStreamError", code })]);
      });
    }

    it("answers with a 500 where retry() throws or returns no delay", async () => {
      for (const retry of [
        () => {
          throw new Error(secret);
        },
        () => Number.NaN,
      ]) {
        const { url, passedOn } = await application(() => ["x"], { retry });
        const response = await fetch(url);
        expect([response.status, await response.text()]).toEqual([500, "the application's own words"]);
        expect(response.headers.get("content-type")).toContain("text/html");
        expect(passedOn.length).toBe(1);
      }
    });

    it("wraps what is no error, so that next() cannot take it for a word of its own", async () => {
      for (const thrown of ["route", undefined, null, 0]) {
        const { url, passedOn } = await application(() => {
          throw thrown;
        });
        expect((await fetch(url)).status).toBe(500);
        expect(passedOn).toEqual([expect.objectContaining({ cause: thrown })]);
        expect(passedOn[0]).toBeInstanceOf(Error);
      }
    });

    it("passes a clear error on where the response has begun", async () => {
      const passedOn: unknown[] = [];
      const app = express();
      app.get("/", (req, res, next) => {
        res.write("begun");
        void eventSource(["x"])(req, res, (error?: unknown) => {
          passedOn.push(error);
          res.end();
        });
        void next;
      });
      const { url } = await serve(app);
      expect(await (await fetch(url)).text()).toBe("begun");
      expect(passedOn).toEqual([expect.objectContaining({ code: "ERR_HEADERS_SENT" })]);
      expect(passedOn[0]).toBeInstanceOf(EventStreamError);
    });

    it("never calls onError or onClose", async () => {
      const calls: string[] = [];
      const { url } = await application(
        () => {
          throw new Teapot(secret);
        },
        { onClose: () => void calls.push("onClose"), onError: () => void calls.push("onError") },
      );
      expect((await fetch(url)).status).toBe(418);
      expect(calls).toEqual([]);
    });
  });

  describe(`after the head, on ${version}`, () => {
    async function* failsLater() {
      yield "first";
      await new Promise((resolve) => setTimeout(resolve, 20));
      yield "last";
      throw new Teapot(secret);
    }

    for (const ownHandler of [true, false]) {
      it(`what was written arrives, and then a fetch fails, ${ownHandler ? "with an error handler of the application's" : "with Express's own error handler"}`, async () => {
        const { url, passedOn } = await application(failsLater, {}, { ownHandler });
        const response = await fetch(url);
        expect(response.status).toBe(200);
        let text = "";
        const failure = (async () => {
          for await (const chunk of response.body as ReadableStream<Uint8Array>)
            text += new TextDecoder().decode(chunk);
        })();
        await expect(failure).rejects.toThrow("terminated");
        expect(text).toBe("data: first\n\ndata: last\n\n");
        if (ownHandler) {
          await until(() => passedOn.length > 0);
          expect(passedOn).toEqual([expect.any(Teapot)]);
        }
      });
    }

    it("a fetch that was told by onError ends well", async () => {
      const { url, passedOn } = await application(failsLater, { onError: () => ({ event: "failed", data: "" }) });
      expect(await (await fetch(url)).text()).toBe("data: first\n\ndata: last\n\nevent: failed\ndata: \n\n");
      expect(passedOn).toEqual([]);
    });
  });
}
