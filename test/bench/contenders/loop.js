import { once } from "node:events";
import { eventData, readyEvents } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/** The honest hand-written loop: it iterates, serializes, waits for `'drain'`, and tells a waiting source that the client has left. */
export function contender({ pingInterval }) {
  const server = expressServer({
    "/ready": async (req, res) => {
      res.writeHead(200, HEAD);
      for await (const { data } of readyEvents(Number(req.query.count))) {
        if (!res.write(`data: ${JSON.stringify(data)}\n\n`)) await once(res, "drain");
      }
      res.end();
    },
    "/hello": async (req, res) => {
      const controller = new AbortController();
      const pings = setInterval(() => res.write(": ping\n\n"), pingInterval);
      res.on("close", () => {
        clearInterval(pings);
        controller.abort();
      });
      res.writeHead(200, HEAD);
      for await (const { data } of oneEvent(controller.signal)) res.write(`data: ${JSON.stringify(data)}\n\n`);
      res.end();
    },
  });
  return { server };
}

async function* oneEvent(signal) {
  yield { data: eventData(0) };
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
