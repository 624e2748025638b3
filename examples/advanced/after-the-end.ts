// Work after the end, whatever the end was: onClose is called exactly once for each stream.
//
//     curl -N http://localhost:3000/countdown
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

async function* countdown(signal: AbortSignal) {
  for (let n = 3; n > 0; n--) {
    yield { data: n };
    await sleep(200, undefined, { signal });
  }
}

// Made inside a handler, the stream's hooks know the request.
app.get("/countdown", async (req, res, next) => {
  await eventSource((_req, { signal }) => countdown(signal), {
    onClose: ({ reason, events, bytes, duration }) => {
      console.log("%s %s: %d events, %d bytes in %d ms", req.path, reason, events, bytes, Math.round(duration));
    },
  })(req, res, next);
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/countdown", (server.address() as AddressInfo).port);
});
