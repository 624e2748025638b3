// Several producers, one stream: they share a PassThrough in object mode, which ends when all are done.
//
//     curl -N http://localhost:3000/news
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

async function produce(events: PassThrough, event: string, every: number, signal: AbortSignal) {
  for (let n = 1; n <= 3; n++) {
    await sleep(every, undefined, { signal });
    events.write({ event, data: { n } });
  }
}

app.get(
  "/news",
  eventSource((_req, { signal }) => {
    const events = new PassThrough({ objectMode: true });
    Promise.all([produce(events, "weather", 100, signal), produce(events, "traffic", 150, signal)]).then(
      () => events.end(),
      // A producer's failure becomes the stream's; after the client has left there is nobody to tell.
      (error: Error) => signal.aborted || events.destroy(error),
    );
    return events;
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/news", (server.address() as AddressInfo).port);
});
