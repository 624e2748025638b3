import express from "express";
import { eventSource, type EventStream, type ServerSentEvent, type StreamSummary } from "express-event-source";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWith } from "../support/installed.js";
import { Gate, until } from "../support/stage.js";
import { chromium, firefox, openPage } from "./browser.js";

type Source = (stream: EventStream, visit: number) => AsyncIterable<ServerSentEvent> | Iterable<ServerSentEvent> | null;

const end: ServerSentEvent = { event: "end", data: "" };

/** What the page follows with an EventSource; `pinged` opens after some pings. */
const followed = (pinged: Gate): Record<string, Source> => ({
  text: () => [
    { data: "plain" },
    { event: "poem", data: "two\nlines\r\nand \u2028 é ↵ 🎈\n" },
    { comment: "data: unseen\nevent: end" },
    { data: { n: [1, null] } },
    { data: "" },
    end,
  ],
  pings: async function* () {
    await pinged.opened;
    yield { data: "after many pings" };
    yield end;
  },
  resumed: ({ lastEventId }) =>
    lastEventId === "é ↵ 3" ? null : [{ id: `é ↵ ${Number(lastEventId?.at(-1) ?? 0) + 1}`, retry: 20, data: "next" }],
  cut: async function* (_stream, visit) {
    yield { id: visit, retry: 20, data: `visit ${visit}` };
    if (visit === 1) throw new Error("The model is gone.");
    yield end;
  },
  idless: (_stream, visit) => (visit === 1 ? [{ id: 1, retry: 20, data: "with data" }, { id: 2 }] : null),
  reset: (_stream, visit) =>
    visit === 1
      ? [
          { id: 1, retry: 20, data: "known" },
          { id: "", data: "forgotten" },
        ]
      : null,
  refused: () => {
    throw new Error("No model is free.");
  },
  left: async function* ({ signal }) {
    yield end;
    await sleep(2 ** 30, undefined, { signal });
  },
});

/** What it posts. */
const posted: Record<string, Source> = {
  answer: () => [{ data: "one" }, { data: "two" }],
  broken: function* () {
    yield { data: "one" };
    throw new Error("The model is gone.");
  },
};

interface Seen {
  readonly events: [string, string, string][];
  readonly text: string;
  readonly state: "left" | "closed" | "ended" | "failed";
}

// Concurrent for the browsers' starts, which take most of the time; the tests only look at what a page has reported.
describe("a page in", { concurrent: true }, () => {
  for (const browser of [chromium, firefox]) {
    describeWith(browser.program, browser.name, () => {
      const reported = new Gate<Record<string, Seen>>();
      /** The Last-Event-ID of each request, by stream. */
      const visits: Record<string, (string | undefined)[]> = {};
      const summaries: Record<string, StreamSummary[]> = {};
      let server: Server;
      let close: () => Promise<void>;
      let seen: Record<string, Seen>;

      beforeAll(async () => {
        const pinged = new Gate();
        const sources = { ...followed(pinged), ...posted };
        let pings = 0;
        const ping = (): ServerSentEvent => {
          if (++pings === 5) pinged.open();
          return { comment: "ping\nevent: ping" };
        };
        const app = express();
        app.get("/", (_req, res) => res.sendFile(fileURLToPath(new URL("page.html", import.meta.url))));
        app.post("/report", express.json(), (req, res) => {
          reported.open(req.body as Record<string, Seen>);
          res.end();
        });
        for (const [name, source] of Object.entries(sources)) {
          const open = (_req: unknown, stream: EventStream): ReturnType<Source> =>
            source(stream, (visits[name] ??= []).push(stream.lastEventId));
          app.all(
            `/${name}`,
            eventSource(open, {
              ping,
              pingInterval: name === "pings" ? 5 : false,
              onClose: (summary) => (summaries[name] ??= []).push(summary),
            }),
          );
        }
        app.use(((_error, _req, res, _next) => {
          if (!res.headersSent) res.sendStatus(503);
        }) satisfies express.ErrorRequestHandler);
        server = app.listen(0, "127.0.0.1");
        await once(server, "listening");
        const query = [
          ...Object.keys(sources)
            .filter((name) => !(name in posted))
            .map((name) => `follow=${name}`),
          ...Object.keys(posted).map((name) => `post=${name}`),
        ].join("&");
        const page = openPage(browser, `http://127.0.0.1:${(server.address() as AddressInfo).port}/?${query}`);
        close = page.close;
        seen = await Promise.race([reported.opened, page.lost]);
      });

      afterAll(async () => {
        await close();
        server.close();
        server.closeAllConnections();
      });

      const dataOf = (name: string): (string | undefined)[] => seen[name]?.events.map(([, data]) => data) ?? [];

      test("events come by name, with all their lines, and comments are not seen", () => {
        expect(seen["text"]?.events).toEqual([
          ["message", "plain", ""],
          ["poem", "two\nlines\nand \u2028 é ↵ 🎈\n", ""],
          ["message", '{"n":[1,null]}', ""],
          ["message", "", ""],
        ]);
      });

      test("pings are not seen", () => {
        expect(dataOf("pings")).toEqual(["after many pings"]);
      });

      test("a stream that ended is resumed from the last id, whatever its letters, until 204 stops the browser", () => {
        expect(seen["resumed"]).toEqual({
          events: [1, 2, 3].map((n) => ["message", "next", `é ↵ ${n}`]),
          state: "closed",
        });
        expect(visits["resumed"]).toEqual([undefined, "é ↵ 1", "é ↵ 2", "é ↵ 3"]);
      });

      test("a stream that was cut is resumed too", () => {
        expect(dataOf("cut")).toEqual(["visit 1", "visit 2"]);
        expect(visits["cut"]).toEqual([undefined, "1"]);
      });

      test(`the id of an event without data is ${browser === firefox ? "not " : ""}remembered`, () => {
        expect(dataOf("idless")).toEqual(["with data"]);
        expect(visits["idless"]).toEqual([undefined, browser === firefox ? "1" : "2"]);
      });

      test("an empty id makes the browser forget the last one", () => {
        expect(seen["reset"]?.events).toEqual([
          ["message", "known", "1"],
          ["message", "forgotten", ""],
        ]);
        expect(visits["reset"]).toEqual([undefined, undefined]);
      });

      test("an error before the first event stops the browser", () => {
        expect(seen["refused"]).toEqual({ events: [], state: "closed" });
      });

      test("close() in the page reaches the generator", async () => {
        await until(() => summaries["left"]?.length === 1);
        expect(summaries["left"]).toMatchObject([{ reason: "disconnected", events: 1 }]);
      });

      test("a POST is read to its end, and one that is cut is seen as a failure", () => {
        expect(seen["answer"]).toEqual({ text: "data: one\n\ndata: two\n\n", state: "ended" });
        // Its text is not looked at: what a stream of the web has in its queue is gone when it fails.
        expect(seen["broken"]?.state).toBe("failed");
      });
    });
  }
});
