// Pings of your own: a comment, which no page sees, or an event, by which a page knows that the server is alive.
//
//     curl -N http://localhost:3000/comments
//     curl -N http://localhost:3000/events
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import express, { type Request } from "express";
import { eventSource, type EventStream } from "express-event-source";

const app = express();

async function* quiet(_req: Request, { signal }: EventStream) {
  yield "From here on there are only pings.";
  await once(signal, "abort");
}

app.get(
  "/comments",
  eventSource(quiet, {
    pingInterval: 500,
    ping: () => ({ comment: "you can't see\nthis ping" }),
  }),
);

app.get(
  "/events",
  eventSource(quiet, {
    pingInterval: 500,
    ping: () => ({ event: "alive", data: { serverTime: Date.now() } }),
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/comments", (server.address() as AddressInfo).port);
});
