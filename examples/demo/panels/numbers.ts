import { setTimeout as sleep } from "node:timers/promises";
import { Router } from "express";
import { eventSource } from "express-event-source";

async function* numbers(from: number, to: number, signal: AbortSignal) {
  for (let n = from; n <= to; n++) {
    yield { id: n, data: { n } };
    await sleep(900, undefined, { signal });
  }
  // An EventSource takes the bare end of a response for a loss and comes back, so say it in words.
  yield { event: "done", data: `${from} to ${to}` };
}

export function numbersPanel(): Router {
  return Router().get(
    "/",
    eventSource((_req, { signal }) => numbers(1, 5, signal)),
  );
}
