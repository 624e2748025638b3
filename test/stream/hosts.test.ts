import { eventSource, type EventStreamSource } from "express-event-source";
import { EventEmitter } from "node:events";
import { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { until } from "../support/stage.js";

// What serverless hosts and test doubles hand to a handler has no socket, or an object with the few methods they use.

interface Host {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly body: () => string;
}

const hosts: Record<string, () => Host> = {
  /** As serverless-http and @codegenie/serverless-express do it: Node's own response on a socket that collects. */
  "whose socket is an object that collects": () => {
    let collected = "";
    const req = new IncomingMessage({ readable: false, destroy: () => {} } as unknown as Socket);
    req.method = "GET";
    const res = new ServerResponse(req);
    res.useChunkedEncodingByDefault = false;
    res.assignSocket({
      _writableState: {},
      writable: true,
      on: () => {},
      removeListener: () => {},
      destroy: () => {},
      cork: () => {},
      uncork: () => {},
      // It returns nothing, so the response seems to be full for good.
      write: (data: string | Buffer, encoding?: unknown, callback?: unknown) => {
        collected += String(data);
        for (const done of [encoding, callback]) if (typeof done === "function") (done as () => void)();
      },
    } as unknown as Socket);
    return { req, res, body: () => collected.slice(collected.indexOf("\r\n\r\n") + 4) };
  },
  /** As node-mocks-http does it: an emitter that never emits, without most of Node's methods. */
  "that are objects of a test": () => {
    let collected = "";
    const silent = { on: () => {}, once: () => {}, removeListener: () => {}, emit: () => {} };
    const headers = new Map<string, unknown>();
    const res = {
      ...silent,
      headersSent: false,
      writableEnded: false,
      setHeader: (name: string, value: unknown) => void headers.set(name.toLowerCase(), value),
      getHeader: (name: string) => headers.get(name.toLowerCase()),
      hasHeader: (name: string) => headers.has(name.toLowerCase()),
      removeHeader: (name: string) => void headers.delete(name.toLowerCase()),
      write: (data: string | Buffer) => {
        res.headersSent = true;
        collected += String(data);
      },
      end: () => {
        res.headersSent = true;
        res.writableEnded = true;
      },
      destroy: () => {
        throw new TypeError("this._writableState is undefined");
      },
    };
    const req = Object.assign(new EventEmitter(), { method: "GET", headers: {}, socket: {} });
    return {
      req: req as unknown as IncomingMessage,
      res: res as unknown as ServerResponse,
      body: () => collected,
    };
  },
};

describe.each(Object.entries(hosts))("a request and a response %s", (_name, host) => {
  async function answer(source: EventStreamSource) {
    const { req, res, body } = host();
    const errors: unknown[] = [];
    await eventSource(source)(req as never, res as never, (error) => errors.push(error));
    return { body: body(), errors, status: res.statusCode, isEnded: res.writableEnded };
  }

  const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

  it("get a finite stream", async () => {
    const { body, errors, isEnded } = await answer(async function* () {
      yield 1;
      await later();
      yield 2;
    });
    expect([body, errors, isEnded]).toEqual(["data: 1\n\ndata: 2\n\n", [], true]);
  });

  it("get a stream whose first item comes late", async () => {
    const { body, errors } = await answer(async function* () {
      await later();
      yield "late";
    });
    expect([body, errors]).toEqual(["data: late\n\n", []]);
  });

  it("get 204 where there is nothing to stream", async () => {
    expect(await answer(() => null)).toMatchObject({ status: 204, errors: [], isEnded: true });
  });

  it("leave an error before the head to next", async () => {
    const { errors, isEnded } = await answer(() => Promise.reject(new Error("no database")));
    expect([errors, isEnded]).toEqual([[expect.objectContaining({ message: "no database" })], false]);
  });

  it("are ended after an error, which next hears of", async () => {
    const { body, errors, isEnded } = await answer(async function* () {
      yield 1;
      await later();
      throw new Error("source fails");
    });
    expect(body).toBe("data: 1\n\n");
    expect([errors, isEnded]).toEqual([[expect.objectContaining({ message: "source fails" })], true]);
  });

  it("are not kept in memory by a stream that nothing will ever end", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const start = (): WeakRef<object> => {
      const { req, res } = host();
      void eventSource(() => new Promise<never>(() => {}))(req as never, res as never);
      return new WeakRef(res);
    };
    const response = start();
    await until(() => {
      collect();
      return response.deref() === undefined;
    });
  });
});
