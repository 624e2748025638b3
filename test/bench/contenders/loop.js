import { once } from "node:events";
import { readyEvents } from "../event.js";
import { expressServer, HEAD } from "./express.js";

/** The honest hand-written loop: it iterates, serializes, and waits for `'drain'`. */
export function contender() {
  const server = expressServer({
    "/ready": async (req, res) => {
      res.writeHead(200, HEAD);
      for await (const { data } of readyEvents(Number(req.query.count))) {
        if (!res.write(`data: ${JSON.stringify(data)}\n\n`)) await once(res, "drain");
      }
      res.end();
    },
  });
  return { server };
}
