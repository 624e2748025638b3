// A stream without end, and where to clean up: press Ctrl+C in curl and watch the server's lines.
//
//     curl -N http://localhost:3000/clock
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

app.get(
  "/clock",
  eventSource(async function* (_req, { signal }) {
    try {
      for (;;) {
        yield { event: "time", data: new Date().toISOString() };
        // With the signal the sleep ends when the client leaves, and not only when its time is up.
        await sleep(1_000, undefined, { signal });
      }
    } finally {
      // However the stream ends: close the cursor, unsubscribe, stop the model.
      console.log("cleaned up: %s", signal.reason);
    }
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/clock", (server.address() as AddressInfo).port);
});
