// A chat whose server and page share the type of its events. Open http://localhost:3000/ in a browser.
//
//     curl -N http://localhost:3000/messages
//     curl --json '{ "name": "anna", "text": "hello" }' http://localhost:3000/messages
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import express from "express";
import { eventSource, memoryBroker, type PublishedEvent } from "express-event-source";

/** What is published. */
export type Message =
  { event: "joined"; data: { name: string } } | { event: "said"; data: { name: string; text: string } };

/** What the page receives: the same, and the broker's `gap`. The page imports this type. */
export type Received = PublishedEvent<Message>;

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<h1>Chat</h1>
<ul></ul>
<form>
  <label>Name <input name="name" required></label> <label>Text <input name="text" required></label> <button>Say</button>
</form>
<script type="module" src="/chat.page.js"></script>
</html>`;

const broker = memoryBroker<Message>({ history: { maxEvents: 100, maxAge: 24 * 60 * 60_000 } });
const names = new Set<string>();
const app = express();

app.get("/", (_req, res) => res.send(page));
// The page is JavaScript whose types are in comments; a TypeScript page would come from a bundler.
app.get("/chat.page.js", (_req, res) => res.sendFile(fileURLToPath(new URL("chat.page.js", import.meta.url))));

app.get(
  "/messages",
  eventSource((_req, stream) => broker.subscribe("chat", { ...stream, from: "start" })),
);

app.post("/messages", express.json(), async (req, res) => {
  const name = String(req.body.name);
  if (!names.has(name)) await broker.publish("chat", { event: "joined", data: { name } });
  names.add(name);
  const id = await broker.publish("chat", { event: "said", data: { name, text: String(req.body.text) } });
  res.status(201).json({ id });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/", (server.address() as AddressInfo).port);
});
