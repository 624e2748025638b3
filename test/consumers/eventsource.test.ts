import { EventSource } from "eventsource";
import express from "express";
import { eventSource, type EventSourceOptions, type EventStream, type ServerSentEvent } from "express-event-source";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { serve } from "../support/server.js";
import { until } from "../support/stage.js";

type Source = (stream: EventStream) => AsyncIterable<ServerSentEvent> | Iterable<ServerSentEvent> | null;

interface Seen {
  readonly client: EventSource;
  /** `[name, data]` of each event. */
  readonly events: [string, string][];
  /** The Last-Event-ID of each request. */
  readonly requests: (string | undefined)[];
}

/** Reads a stream with the `eventsource` package, `EventSource` for Node. */
async function watch(source: Source, names: string[] = ["message"], options?: EventSourceOptions): Promise<Seen> {
  const requests: (string | undefined)[] = [];
  const app = express();
  app.get(
    "/",
    eventSource((_req, stream) => {
      requests.push(stream.lastEventId);
      return source(stream);
    }, options),
  );
  const { url } = await serve(app);
  const client = new EventSource(url);
  onTestFinished(() => client.close());
  const events: Seen["events"] = [];
  for (const name of names)
    client.addEventListener(name, ({ type, data }: MessageEvent) => void events.push([type, data as string]));
  return { client, events, requests };
}

test("events come by name, with all their lines", async () => {
  const { events } = await watch(
    async function* ({ signal }) {
      yield { data: "plain" };
      yield { event: "poem", id: 7, data: "two\nlines, é ↵ 🎈" };
      yield { comment: "unseen" };
      yield { event: "poem", data: { n: 1 } };
      yield { data: "" };
      await sleep(2 ** 30, undefined, { signal });
    },
    ["message", "poem"],
  );
  await until(() => events.length === 4);
  expect(events).toEqual([
    ["message", "plain"],
    ["poem", "two\nlines, é ↵ 🎈"],
    ["poem", '{"n":1}'],
    ["message", ""],
  ]);
});

test("pings are not seen", async () => {
  const { events } = await watch(
    async function* () {
      await sleep(50);
      yield { data: "the first that is seen" };
      await sleep(2 ** 30);
    },
    ["message", "error", "ping"],
    { pingInterval: 5 },
  );
  await until(() => events.length > 0);
  expect(events).toEqual([["message", "the first that is seen"]]);
});

test("it comes back after the time that retry says, with Last-Event-ID, until 204 stops it", async () => {
  const { client, events, requests } = await watch(
    ({ lastEventId }) => {
      const done = Number(lastEventId?.slice(1) ?? 0);
      return done === 3 ? null : [{ id: `n${done + 1}`, data: done + 1 }];
    },
    ["message"],
    { retry: 20 },
  );
  await until(() => client.readyState === client.CLOSED);
  expect(events.map(([, data]) => data)).toEqual(["1", "2", "3"]);
  expect(requests).toEqual([undefined, "n1", "n2", "n3"]);
});
