import { setTimeout as sleep } from "node:timers/promises";
import { Router } from "express";
import { eventSource } from "express-event-source";

const last = 20;

async function* parts(from: number, signal: AbortSignal) {
  for (let part = from; part <= last; part++) {
    yield { id: part, data: { part, of: last } };
    await sleep(300, undefined, { signal });
  }
}

export function resumePanel(): Router {
  return Router().get(
    "/",
    eventSource(
      (_req, { signal, lastEventId }) => {
        const seen = /^\d{1,3}$/.test(lastEventId ?? "") ? Number(lastEventId) : 0;
        // Nothing is left: null answers 204, and the EventSource does not come back.
        return seen >= last ? null : parts(seen + 1, signal);
      },
      { retry: 500 },
    ),
  );
}
