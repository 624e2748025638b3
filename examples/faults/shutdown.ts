// A farewell before the server goes: connect, then press Ctrl+C in the server's terminal.
//
//     curl -N http://localhost:3000/news
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

app.get(
  "/news",
  eventSource(
    async function* (_req, { signal, shutdown }) {
      const over = AbortSignal.any([signal, shutdown]);
      for (let n = 1; !over.aborted; n++) {
        yield { id: n, data: `news ${n}` };
        await sleep(1_000, undefined, { signal: over }).catch(() => {});
      }
      // If the client has left, nobody reads this; if the server is closing, the grace period lets it out.
      yield { event: "farewell", data: "back in a moment", retry: 2_000 };
    },
    { shutdownGracePeriod: 5_000 },
  ),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/news", (server.address() as AddressInfo).port);
});

for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.once(name, () => {
    // Without open streams it would be the same line: they hear of it by themselves.
    server.close(() => console.log("closed"));
  });
}
