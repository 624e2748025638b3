import { setInterval } from "node:timers/promises";
import { Router } from "express";
import { eventSource } from "express-event-source";

async function* hourglass(signal: AbortSignal) {
  for await (const _ of setInterval(2_500, undefined, { signal })) {
    yield { event: "sand", data: "a grain falls" };
  }
}

export function pingPanel(): Router {
  return Router().get(
    "/",
    eventSource((_req, { signal }) => hourglass(signal), {
      pingInterval: 1_000,
      ping: () => ({ comment: "you can't see\nthis ping" }),
    }),
  );
}
