// Runs under Node, Bun and Deno alike: prints its port, ends when its input does.
import express from "express";
import process from "node:process";
import { eventSource, memoryBroker } from "../../../dist/index.js";

const app = express();
const broker = memoryBroker();
app.get(
  "/numbers",
  eventSource((_req, { lastEventId }) => (lastEventId === "3" ? null : [1, 2, 3].map((n) => ({ id: n, data: { n } })))),
);
app.post(
  "/echo",
  express.json(),
  eventSource((req) => req.body.words),
);
app.get(
  "/rooms/:id",
  eventSource((req, stream) => broker.subscribe(req.params.id, stream)),
);
app.post("/rooms/:id", express.json(), async (req, res) => {
  res.json({ id: await broker.publish(req.params.id, { data: req.body }) });
});
const left = [];
app.get(
  "/endless",
  eventSource(
    async function* (_req, { signal }) {
      yield "first";
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    },
    { onClose: ({ reason }) => left.push(reason) },
  ),
);
app.get("/left", (_req, res) => res.json(left));
app.get(
  "/fails",
  eventSource(() => {
    throw new Error("secret");
  }),
);
app.use((_error, _req, res, _next) => res.status(500).send("the application's own words"));
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
