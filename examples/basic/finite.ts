// A stream that ends: three numbers, then the response is over.
//
//     curl -N http://localhost:3000/numbers
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

app.get(
  "/numbers",
  eventSource(async function* (_req, { signal }) {
    for (let n = 1; n <= 3; n++) {
      yield { id: n, data: { n } };
      await sleep(300, undefined, { signal });
    }
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/numbers", (server.address() as AddressInfo).port);
});
