// htmx 4: each event is HTML that says where it goes. Open http://localhost:3000/ in a browser.
//
//     curl -N http://localhost:3000/delivery
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource } from "express-event-source";

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Your delivery</title>
<script src="/htmx.js"></script>
<script src="/sse.js"></script>
<h1>Your delivery</h1>
<main hx-sse:connect="/delivery" hx-sse:close="delivered">
  <p id="status">Waiting …</p>
  <ol id="steps"></ol>
</main>
</html>`;

const steps = ["Packed", "Handed to the courier", "In your street", "Delivered"];

const app = express();
const { resolve } = createRequire(import.meta.url);

app.get("/", (_req, res) => res.send(page));
app.get("/htmx.js", (_req, res) => res.sendFile(resolve("htmx.org/dist/htmx.min.js")));
app.get("/sse.js", (_req, res) => res.sendFile(resolve("htmx.org/dist/ext/hx-sse.min.js")));

app.get(
  "/delivery",
  eventSource(async function* (_req, { lastEventId, signal }) {
    for (const [n, step] of steps.entries()) {
      // What the page shows already.
      if (n < Number(lastEventId ?? 0)) continue;
      // It is HTML: escape what users wrote. It has no name, because htmx swaps in only events without one.
      const data = `<hx-partial hx-target="#steps" hx-swap="beforeend"><li>${step}</li></hx-partial>
<hx-partial hx-target="#status">Step ${n + 1} of ${steps.length}</hx-partial>`;
      yield { id: n + 1, data };
      await sleep(200, undefined, { signal });
    }
    // Not by 204, as elsewhere: the extension comes back from that too.
    yield { event: "delivered", data: "" };
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/delivery", (server.address() as AddressInfo).port);
});
