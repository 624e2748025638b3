// Whether there is a stream at all: 401 by ordinary middleware, 204 for a job that is done.
//
//     curl -i http://localhost:3000/jobs/running
//     curl -N http://localhost:3000/jobs/running -b session=secret
//     curl -i http://localhost:3000/jobs/done -b session=secret
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();
const percentDone = new Map([
  ["running", 0],
  ["done", 100],
]);

app.use((req, res, next) => {
  if (req.get("Cookie") === "session=secret") next();
  else res.sendStatus(401);
});

async function* progress(job: string, signal: AbortSignal) {
  for (let percent = percentDone.get(job) ?? 0; percent <= 100; percent += 50) {
    percentDone.set(job, percent);
    yield { event: "progress", data: { percent } };
    await sleep(200, undefined, { signal });
  }
}

app.get(
  "/jobs/:id",
  eventSource<{ id: string }>((req, { signal }) => {
    const { id } = req.params;
    // Nothing left to tell: 204 keeps an EventSource from coming back.
    return percentDone.get(id) === 100 ? null : progress(id, signal);
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/jobs/running", (server.address() as AddressInfo).port);
});
