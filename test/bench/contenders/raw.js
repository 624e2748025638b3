import { eventData, FRAME } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/**
 * The yardstick: what a careful hand writes without a library. It neither iterates nor serializes:
 * one `res.write` of a string that is ready for each event. It stops when `write` returns false and
 * goes on with `'drain'`, pings with a `setInterval` for each stream, and clears it on `'close'`.
 * It does not join events, does not yield to the event loop between two drains, never cuts a stalled
 * client, and knows nothing of a closing server.
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
      let left = Number(req.query.count);
      res.writeHead(200, HEAD);
      const write = () => {
        while (left > 0) {
          left -= 1;
          if (!res.write(FRAME)) {
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
      res.write(FRAME);
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
      const frame = `data: ${JSON.stringify(eventData(n))}\n\n`;
      for (const res of room) res.write(frame);
    },
  };
}
