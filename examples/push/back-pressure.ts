// Back-pressure for a producer that pushes: `write` says when to wait, 'drain' when to go on. A slow client
// slows its own producer, and costs no memory.
//
//     curl -N --limit-rate 100k http://localhost:3000/rows > /dev/null
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

async function produce(events: PassThrough, signal: AbortSignal) {
  for (let row = 1; row <= 30_000; row++) {
    if (!events.write({ id: row, data: { row, text: "x".repeat(1_000) } })) {
      await once(events, "drain", { signal });
    }
    if (row % 1_000 === 0) console.log("%d rows produced", row);
  }
  events.end();
}

app.get(
  "/rows",
  eventSource((_req, { signal }) => {
    const events = new PassThrough({ objectMode: true });
    produce(events, signal).catch((error: Error) => signal.aborted || events.destroy(error));
    return events;
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/rows", (server.address() as AddressInfo).port);
});
