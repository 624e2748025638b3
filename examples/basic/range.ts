// Route parameters say what is streamed, Last-Event-ID where to go on, and an empty stream is a 204,
// at which an EventSource stops coming back.
//
//     curl -N http://localhost:3000/numbers/3/6
//     curl -N http://localhost:3000/numbers/3/6 -H "Last-Event-ID: 4"
//     curl -i http://localhost:3000/numbers/3/6 -H "Last-Event-ID: 6"
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

async function* numbers(from: number, to: number, signal: AbortSignal) {
  for (let n = from; n <= to; n++) {
    yield { id: n, data: { n } };
    await sleep(200, undefined, { signal });
  }
}

app.get(
  "/numbers/:from/:to",
  eventSource<{ from: string; to: string }>((req, { signal, lastEventId }) => {
    const from = lastEventId === undefined ? Number(req.params.from) : Number(lastEventId) + 1;
    const to = Number(req.params.to);
    // Thrown before anything is sent, it is an ordinary HTTP error.
    if (!Number.isInteger(from) || !Number.isInteger(to))
      throw Object.assign(new Error("Not a number"), { status: 400 });
    return numbers(from, to, signal);
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/numbers/3/6", (server.address() as AddressInfo).port);
});
