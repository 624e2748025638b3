import { createChannel, createSession } from "better-sse";
import { eventData } from "../event.js";
import { expressServer } from "./express.js";

/** `iterate` knows no backpressure, and adds an event's type and a random id of its own. */
export function contender({ pingInterval }) {
  const options = { keepAlive: pingInterval, retry: null };
  const channel = createChannel();
  const server = expressServer({
    "/ready": async (req, res) => {
      // It would go on pinging a response that has ended.
      const session = await createSession(req, res, { ...options, keepAlive: null });
      await session.iterate(readyData(Number(req.query.count)));
      res.end();
    },
    "/hello": async (req, res) => {
      const session = await createSession(req, res, options);
      session.push(eventData(0));
    },
    "/room": async (req, res) => {
      channel.register(await createSession(req, res, options));
    },
  });
  return { server, publish: (n) => channel.broadcast(eventData(n)) };
}

/** What it iterates is the data alone. */
async function* readyData(count) {
  for (let n = 0; n < count; n++) yield eventData(n);
}
