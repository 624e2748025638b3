import { once } from "node:events";
import { asked, frameOf, readyItems } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/** A chunk of about Node's high-water mark. */
const limit = 16_000;

/**
 * The most that a loop by hand can reach with a source that is always ready: it joins frames to chunks of 16 kB and waits
 * for `'drain'`. It checks nothing, never yields to the event loop, and would hold a slow source's events back for ever.
 */
export function contender() {
  const server = expressServer({
    "/ready": async (req, res) => {
      res.writeHead(200, HEAD);
      let batch = "";
      for await (const item of readyItems(...asked(req.query))) {
        batch += frameOf(item);
        if (batch.length < limit) continue;
        const hasRoom = res.write(batch);
        batch = "";
        if (!hasRoom) await once(res, "drain");
      }
      res.end(batch);
    },
  });
  return { server };
}
