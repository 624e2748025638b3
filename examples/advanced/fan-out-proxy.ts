// Headers for a proxy that fetches the stream once and fans it out to everybody: it needs an answer that may be cached.
//
//     curl -iN http://localhost:3000/scores
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

app.get(
  "/scores",
  eventSource(
    async function* (_req, { signal }) {
      for (let home = 0; ; home++) {
        yield { event: "score", data: { home, away: 1 } };
        await sleep(500, undefined, { signal });
      }
    },
    {
      headers: {
        "Cache-Control": "public, max-age=29",
        "X-Accel-Buffering": undefined, // removes a default
      },
      // Before the cached answer is stale: the proxy asks again, and its clients stay.
      maxDuration: 29_000,
    },
  ),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/scores", (server.address() as AddressInfo).port);
});
