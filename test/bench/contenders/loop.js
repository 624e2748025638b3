import { once } from "node:events";
import { asked, frameOf, makers, readyItems } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/**
 * The honest hand-written loop: it iterates, serializes, waits for `'drain'`; where the source waits, it pings and tells
 * it that the client has left. It has nothing to fan out with: in its room nobody ever says anything.
 */
export function contender({ pingInterval }) {
  /** Keeps a waiting stream alive; returns the signal that ends its source. */
  const hold = (res) => {
    const controller = new AbortController();
    const pings = setInterval(() => res.write(": ping\n\n"), pingInterval);
    res.on("close", () => {
      clearInterval(pings);
      controller.abort();
    });
    return controller.signal;
  };

  const send = async (res, source) => {
    for await (const item of source) {
      if (!res.write(frameOf(item))) await once(res, "drain");
    }
    res.end();
  };

  const server = expressServer({
    "/ready": async (req, res) => {
      res.writeHead(200, HEAD);
      await send(res, readyItems(...asked(req.query)));
    },
    "/hello": async (req, res) => {
      res.writeHead(200, HEAD);
      await send(res, oneEvent(hold(res)));
    },
    "/room": async (req, res) => {
      res.writeHead(200, HEAD);
      res.flushHeaders();
      await send(res, noEvent(hold(res)));
    },
  });
  return { server };
}

async function* oneEvent(signal) {
  yield makers.event(0);
  await left(signal);
}

async function* noEvent(signal) {
  await left(signal);
}

const left = (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
