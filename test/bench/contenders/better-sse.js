import { createChannel, createSession } from "better-sse";
import { asked, makers, readyItems } from "../event.js";
import { expressServer } from "./express.js";

/**
 * `push` knows no backpressure. It adds a type and a random ID where an event has none, takes no number as an ID, and sends a
 * string as JSON.
 */
export function contender({ pingInterval }) {
  const options = { keepAlive: pingInterval, retry: null };
  const channel = createChannel();
  const server = expressServer({
    "/ready": async (req, res) => {
      // It would go on pinging a response that has ended.
      const session = await createSession(req, res, { ...options, keepAlive: null });
      for await (const item of readyItems(...asked(req.query))) push(session, item);
      res.end();
    },
    "/hello": async (req, res) => {
      const session = await createSession(req, res, options);
      push(session, makers.event(0));
    },
    "/room": async (req, res) => {
      channel.register(await createSession(req, res, options));
    },
  });
  return {
    server,
    publish(n) {
      const { data, event, id } = makers.event(n);
      channel.broadcast(data, event, { eventId: String(id) });
    },
  };
}

function push(session, item) {
  if (typeof item === "string") session.push(item);
  else session.push(item.data, item.event, item.id === undefined ? undefined : String(item.id));
}
