// Chat rooms that only their members may read and write: authorization is ordinary Express middleware.
//
//     curl -N http://localhost:3000/rooms/garden -b session=anna
//     curl http://localhost:3000/rooms/garden -b session=bert --json '{ "text": "hello" }'
import type { AddressInfo } from "node:net";
import express, { type RequestHandler } from "express";
import { eventSource, memoryBroker } from "express-event-source";

interface Message {
  event: "message";
  data: { from: string; text: string };
}

const members: Record<string, string[]> = { garden: ["anna", "bert"], cellar: ["bert"] };
const broker = memoryBroker<Message>({ history: { maxEvents: 100, maxAge: 24 * 60 * 60_000 } });
const app = express();

// A cookie, because an EventSource can send nothing else. A real application looks the session up in its store here.
const memberOnly: RequestHandler<{ room: string }> = (req, res, next) => {
  const user = /(?:^|; )session=([^;]*)/.exec(req.get("Cookie") ?? "")?.[1];
  if (user === undefined) return void res.sendStatus(401);
  if (members[req.params.room]?.includes(user) !== true) return void res.sendStatus(403);
  res.locals.user = user;
  next();
};

// A client that is new to the room gets the messages from before; one that reconnects gets only those that it missed.
app.get(
  "/rooms/:room",
  memberOnly,
  eventSource<{ room: string }>((req, stream) =>
    broker.subscribe(`room:${req.params.room}`, { ...stream, from: "start" }),
  ),
);

app.post("/rooms/:room", memberOnly, express.json(), async (req, res) => {
  const data = { from: String(res.locals.user), text: String(req.body.text) };
  res.status(201).json({ id: await broker.publish(`room:${req.params.room}`, { event: "message", data }) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/rooms/garden", (server.address() as AddressInfo).port);
});
