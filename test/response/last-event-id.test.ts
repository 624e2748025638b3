import type { IncomingMessage } from "node:http";
import { createParser } from "eventsource-parser";
import express from "express";
import { encodeEvent, eventSource } from "express-event-source";
import fc from "fast-check";
import { expect, it } from "vitest";
import { lastEventId } from "../../src/response/last-event-id.js";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";

/** What the source sees as `lastEventId` for a request with this header line. */
async function seen(...headers: Buffer[]): Promise<unknown> {
  const app = express();
  app.get(
    "/",
    eventSource((_req, stream) => [{ data: { value: stream.lastEventId ?? null } }]),
  );
  const { port } = await serve(app);
  const client = new RawClient(port);
  client.socket.write(
    Buffer.concat([
      Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n"),
      ...headers.map((header) => Buffer.concat([header, Buffer.from("\r\n")])),
      Buffer.from("\r\n"),
    ]),
  );
  await client.until("\r\n0\r\n");
  return (JSON.parse(client.body.slice("data: ".length)) as { value: unknown }).value;
}

const header = (value: string, encoding: BufferEncoding = "utf8"): Buffer =>
  Buffer.from(`Last-Event-ID: ${value}`, encoding);

it.each(["7", "0", "1700000000000-0", "Grüße", "✓ 😀", "a:b", "中 文", "undefined"])(
  "%j is what the source sees",
  async (id) => {
    expect(await seen(header(id))).toBe(id);
  },
);

it("no header is undefined", async () => {
  expect(await seen()).toBeNull();
});

it("an empty header is undefined", async () => {
  expect(await seen(header(""))).toBeNull();
  expect(await seen(header("   "))).toBeNull();
});

it("bytes that are no UTF-8 become U+FFFD, and nothing breaks", async () => {
  expect(await seen(header("7\xff8", "latin1"))).toBe("7\uFFFD8");
  expect(await seen(header("\xc3", "latin1"))).toBe("\uFFFD");
  expect(await seen(header("\xed\xa0\x80", "latin1"))).toMatch(/^\uFFFD+$/);
});

it("two headers are one value that no event had", async () => {
  expect(await seen(header("7"), header("8"))).toBe("7, 8");
});

it("every id that can be sent comes back as it was, white space around it aside", () => {
  const id = fc
    .string({ unit: "binary", minLength: 1 })
    .map((value) => value.replace(/[\0\r\n]/g, "").trim())
    .filter((value) => value !== "");
  fc.assert(
    fc.property(id, (sent) => {
      let received: string | undefined;
      createParser({ onEvent: (event) => (received = event.id) }).feed(encodeEvent({ id: sent, data: "" }));
      const onTheWire = Buffer.from(received ?? "", "utf8").toString("latin1");
      expect(lastEventId({ headers: { "last-event-id": onTheWire } } as unknown as IncomingMessage)).toBe(sent);
    }),
  );
});
