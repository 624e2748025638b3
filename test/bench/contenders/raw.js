import { asked, frameOf, makers } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/** The first frames of each kind, of the bytes that all contenders send: 17 tokens, the shortest and the longest. */
const frames = Object.fromEntries(
  Object.entries(makers).map(([kind, make]) => [kind, Array.from({ length: 17 }, (_, n) => flat(frameOf(make(n))))]),
);

/** What has been concatenated is flattened by the first write. Here it has been, before anybody asks. */
function flat(text) {
  return JSON.parse(JSON.stringify(text));
}

/**
 * The yardstick: a hand-written handler without a library. It neither iterates nor serializes: it calls `res.write` with
 * a string that is ready for each event. It stops when `write` returns false and goes on at `'drain'`. It pings with a
 * `setInterval` for each stream, which it clears on `'close'`. It batches nothing, does not yield to the event loop between
 * two drains, never cuts a stalled client, and knows nothing of a closing server.
 */
export function contender({ pingInterval }) {
  const room = new Set();

  const hold = (res) => {
    const pings = setInterval(() => res.write(": ping\n\n"), pingInterval);
    room.add(res);
    res.on("close", () => {
      clearInterval(pings);
      room.delete(res);
    });
  };

  const server = expressServer({
    "/ready": (req, res) => {
      const [kind, count] = asked(req.query);
      const ready = frames[kind];
      let sent = 0;
      res.writeHead(200, HEAD);
      const write = () => {
        while (sent < count) {
          if (!res.write(ready[sent++ % ready.length])) {
            res.once("drain", write);
            return;
          }
        }
        res.end();
      };
      write();
    },
    "/hello": (req, res) => {
      res.writeHead(200, HEAD);
      res.write(frames.event[0]);
      hold(res);
    },
    "/room": (req, res) => {
      res.writeHead(200, HEAD);
      res.flushHeaders();
      hold(res);
    },
  });

  return {
    server,
    publish(n) {
      const frame = frameOf(makers.event(n));
      for (const res of room) res.write(frame);
    },
  };
}
