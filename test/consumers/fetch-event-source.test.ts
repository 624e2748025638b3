import { type EventSourceMessage, fetchEventSource } from "@microsoft/fetch-event-source";
import express from "express";
import { eventSource, type EventSourceOptions, type EventStream, type ServerSentEvent } from "express-event-source";
import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { serve } from "../support/server.js";
import { Gate, until } from "../support/stage.js";

// As much of a browser as the package looks at.
beforeAll(() => {
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false }));
});

type Source = (body: unknown, stream: EventStream) => AsyncIterable<ServerSentEvent> | Iterable<ServerSentEvent> | null;

interface Seen {
  readonly messages: EventSourceMessage[];
  readonly requests: IncomingHttpHeaders[];
  readonly leave: () => void;
  /** Resolves when the client has left, or the stream has ended. */
  readonly over: Promise<void>;
}

/** Posts a question and reads the answer; a connection that is lost is made again. */
async function ask(source: Source, options?: EventSourceOptions): Promise<Seen> {
  const requests: IncomingHttpHeaders[] = [];
  const app = express();
  app.post(
    "/",
    express.json(),
    eventSource((req, stream) => {
      requests.push(req.headers);
      return source(req.body, stream);
    }, options),
  );
  app.use(((_error, _req, _res, _next) => {}) satisfies express.ErrorRequestHandler);
  const { url } = await serve(app);
  const leaving = new AbortController();
  onTestFinished(() => leaving.abort());
  const messages: EventSourceMessage[] = [];
  const over = fetchEventSource(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer secret" },
    body: JSON.stringify({ prompt: "hello" }),
    signal: leaving.signal,
    onmessage: (message) => void messages.push(message),
  });
  return { messages, requests, over, leave: () => leaving.abort() };
}

test("the answer to a POST comes event by event, to a client with a header of its own", async () => {
  const { messages, requests, over } = await ask(function* (body) {
    yield { id: 1, event: "echo", data: body };
    yield { data: "two\nlines, é ↵ 🎈" };
  });
  await over;
  expect(messages).toEqual([
    { id: "1", event: "echo", data: '{"prompt":"hello"}', retry: undefined },
    { id: "", event: "", data: "two\nlines, é ↵ 🎈", retry: undefined },
  ]);
  expect(requests).toMatchObject([{ authorization: "Bearer secret" }]);
});

test("a failure is retried after the time that retry says, from the last event", async () => {
  const { messages, requests, over }: Seen = await ask(async function* (_body, { lastEventId }) {
    if (lastEventId === undefined) {
      yield { id: 1, retry: 20, data: "before" };
      // What a stream of the web has in its queue is gone when it fails.
      await until(() => messages.length === 1);
      throw new Error("the connection is cut");
    }
    yield { id: 2, data: "after" };
  });
  await over;
  expect(messages).toMatchObject([
    { id: "1", data: "before", retry: 20 },
    { id: "2", data: "after" },
  ]);
  expect(requests.map((headers) => headers["last-event-id"])).toEqual([undefined, "1"]);
});

test("a client's leaving reaches the generator", async () => {
  const left = new Gate<unknown>();
  const { messages, leave, over } = await ask(async function* (_body, { signal }) {
    try {
      yield { data: "hello" };
      await sleep(2 ** 30, undefined, { signal });
    } finally {
      left.open(signal.reason);
    }
  });
  await until(() => messages.length === 1);
  leave();
  await over;
  await expect(left.opened).resolves.toBe("disconnected");
});

test("each ping is a message without data: unlike EventSource the package shows every blank line", async () => {
  const { messages } = await ask(
    async function* () {
      await sleep(2 ** 30);
      yield { data: "never" };
    },
    { pingInterval: 5 },
  );
  await until(() => messages.length >= 2);
  expect(messages[0]).toEqual({ id: "", event: "", data: "", retry: undefined });
});
