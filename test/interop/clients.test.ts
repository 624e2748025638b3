import { EventSource } from "eventsource";
import { type EventSourceMessage, EventSourceParserStream } from "eventsource-parser/stream";
import express from "express";
import { eventSource, type ServerSentEvent } from "express-event-source";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { serve } from "../support/server.js";
import { Gate } from "../support/stage.js";

const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "\n",
        "\r",
        "\r\n",
        "\u2028",
        "\u2029",
        "\u0085",
        "\0",
        "\uFEFF",
        " ",
        ":",
        "data: forged",
        "\n\n",
        "id: forged",
        "event: forged",
      ),
      fc.string({ unit: "binary", maxLength: 8 }),
    ),
    { maxLength: 6 },
  )
  .map((pieces) => pieces.join(""));

const oneLine = text.map((value) => value.replace(/[\r\n]/g, ""));

/** Events with data, of a type that the client can listen for (`error` and `open` are its own). */
const event = fc.record({
  comment: fc.option(text, { nil: undefined }),
  id: fc.option(
    oneLine.map((value) => value.replaceAll("\0", "")),
    { nil: undefined },
  ),
  event: fc.option(
    oneLine.filter((value) => value !== "error" && value !== "open"),
    { nil: undefined },
  ),
  data: fc.oneof(text, fc.jsonValue()),
});

const events = fc.sample(event, { numRuns: 400, seed: 20_240_917 });

interface Message {
  type: string;
  lastEventId: string;
  data: string;
}

/**
 * What the client shows of the events: line breaks as LF, the type "message" by default. (The standard
 * would have `lastEventId` go on from event to event; this client shows each event's own.)
 */
function asSeen(sent: readonly ServerSentEvent[]): Message[] {
  return sent.map(({ id, event: type, data }) => {
    const value = typeof data === "string" ? data : JSON.stringify(data);
    return {
      type: type === undefined || type === "" ? "message" : type,
      lastEventId: String(id ?? ""),
      data: value.replace(/\r\n?/g, "\n"),
    };
  });
}

describe.each(["\n", "\r\n", "\r"] as const)("with the line ending %j", (lineEnding) => {
  async function url(): Promise<string> {
    const app = express();
    app.get(
      "/",
      eventSource(() => [...events, { event: "end", data: "" }], { lineEnding }),
    );
    return (await serve(app)).url;
  }

  it("an EventSource receives what was sent, character for character", async () => {
    const source = new EventSource(await url());
    onTestFinished(() => source.close());
    const received: Message[] = [];
    const ended = new Gate();
    for (const type of new Set(asSeen(events).map((message) => message.type))) {
      source.addEventListener(type, ({ lastEventId, data }) =>
        received.push({ type, lastEventId, data: data as string }),
      );
    }
    source.addEventListener("end", () => ended.open());
    // With CR alone the client holds the last event back until the byte after it: the end of the response will do.
    source.addEventListener("error", () => ended.open());
    await ended.opened;
    source.close();
    expect(received).toEqual(asSeen(events));
  });

  it("a fetch with a parser receives it too", async () => {
    const { body } = await fetch(await url());
    const received: EventSourceMessage[] = [];
    for await (const message of (body as ReadableStream<Uint8Array<ArrayBuffer>>)
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream()))
      received.push(message);
    const shown = asSeen(events);
    expect(received.slice(0, events.length)).toEqual(
      events.map(({ id, event: type }, n) => ({ id, event: type === "" ? undefined : type, data: shown[n]?.data })),
    );
  });
});

describe("an EventSource", () => {
  it("comes back with the last event ID, until it gets 204", async () => {
    const asked: (string | undefined)[] = [];
    const app = express();
    app.get(
      "/",
      eventSource(
        async function* (_req, { lastEventId }) {
          asked.push(lastEventId);
          const next = lastEventId === undefined ? 1 : Number(lastEventId) + 1;
          if (next <= 3) yield { id: next, data: next };
        },
        { retry: 1 },
      ),
    );
    const source = new EventSource((await serve(app)).url);
    onTestFinished(() => source.close());
    const received: string[] = [];
    const stopped = new Gate();
    source.addEventListener("message", ({ data }) => received.push(data as string));
    source.addEventListener("error", () => source.readyState === EventSource.CLOSED && stopped.open());
    await stopped.opened;
    expect(received).toEqual(["1", "2", "3"]);
    expect(asked).toEqual([undefined, "1", "2", "3"]);
  });

  it("forgets the ID that an empty one resets", async () => {
    const asked: (string | undefined)[] = [];
    const twice = new Gate();
    const app = express();
    app.get(
      "/",
      eventSource(
        async function* (_req, { lastEventId }) {
          asked.push(lastEventId);
          if (asked.length === 2) twice.open();
          yield { id: "7", data: "a" };
          yield { id: "", data: "b" };
        },
        { retry: 1 },
      ),
    );
    const source = new EventSource((await serve(app)).url);
    onTestFinished(() => source.close());
    await twice.opened;
    expect(asked).toEqual([undefined, undefined]);
  });

  it("never sees a ping, a comment or a retry as an event", async () => {
    const pinged = new Gate();
    const app = express();
    app.get(
      "/",
      eventSource(
        async function* () {
          yield { comment: "only a comment" };
          yield { retry: 5 };
          yield { id: "7" };
          await pinged.opened;
          yield "the event";
        },
        { pingInterval: 5, ping: () => (pinged.open(), { comment: "you can't see\nthis ping" }) },
      ),
    );
    const source = new EventSource((await serve(app)).url);
    onTestFinished(() => source.close());
    const { data } = await new Promise<MessageEvent>((resolve) => (source.onmessage = resolve as never));
    source.close();
    expect(data).toBe("the event");
  });

  it("fails for good on an HTTP error", async () => {
    const app = express();
    app.get(
      "/",
      eventSource(() => {
        throw Object.assign(new Error("no"), { status: 403 });
      }),
    );
    app.use(((_error, _req, res, _next) => void res.status(403).end()) as express.ErrorRequestHandler);
    const source = new EventSource((await serve(app)).url);
    onTestFinished(() => source.close());
    const error = await new Promise<{ code?: number | undefined }>((resolve) =>
      source.addEventListener("error", resolve),
    );
    expect(error.code).toBe(403);
    expect(source.readyState).toBe(EventSource.CLOSED);
  });
});
