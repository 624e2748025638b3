// Limits: so many streams for each user, for each address, and in all. One too many is told to come back later.
//
//     curl -N -H "X-User: ann" http://localhost:3000/time
//
// Run it in three terminals: the third one is turned away.
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express, { type NextFunction, type Request, type Response } from "express";
import { eventSource } from "express-event-source";

const app = express();
const limits = { all: 1_000, address: 20, user: 2 };
const open = new Map<string, number>();

// With status 200, for any other stops an EventSource for good; at a random moment, so that they do not come back together.
const comeBackLater = eventSource(() => [{ comment: "too many streams" }], {
  retry: () => 10_000 + Math.random() * 20_000,
});

/** Lets a stream begin where all of its counters have room. The handler's promise settles whatever became of the stream. */
function limited(stream: (req: Request, res: Response, next: NextFunction) => Promise<void>) {
  return async (req: Request, res: Response, next: NextFunction): Promise<void> => {
    // The header stands for the user of a session. Behind a proxy, `req.ip` needs `app.set("trust proxy", …)`.
    const counters = { all: "all", address: `address ${req.ip}`, user: `user ${req.get("X-User")}` };
    const full = Object.entries(counters).find(
      ([kind, key]) => (open.get(key) ?? 0) >= limits[kind as keyof typeof limits],
    );
    if (full !== undefined) {
      console.log("too many: %s", full[1]);
      return comeBackLater(req, res, next);
    }
    for (const key of Object.values(counters)) open.set(key, (open.get(key) ?? 0) + 1);
    try {
      await stream(req, res, next);
    } finally {
      for (const key of Object.values(counters)) {
        const left = (open.get(key) ?? 1) - 1;
        if (left > 0) open.set(key, left);
        else open.delete(key);
      }
      console.log("streams left: %d", open.get("all") ?? 0);
    }
  };
}

async function* time(signal: AbortSignal) {
  for (;;) {
    yield { event: "time", data: { now: Date.now() } };
    await sleep(1_000, undefined, { signal });
  }
}

app.get("/time", limited(eventSource((_req, { signal }) => time(signal))));

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/time", (server.address() as AddressInfo).port);
});
