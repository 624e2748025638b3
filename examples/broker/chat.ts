// Chat rooms that only their members may read and write: authorization is ordinary Express middleware.
//
//     curl -N http://localhost:3000/rooms/garden -H "Authorization: Bearer anna"
//     curl http://localhost:3000/rooms/garden -H "Authorization: Bearer bert" --json '{ "text": "hello" }'
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

// A real application looks its session cookie or token up here.
const memberOnly: RequestHandler<{ room: string }> = (req, res, next) => {
  const user = req.get("Authorization")?.replace("Bearer ", "");
  if (user === undefined) return void res.sendStatus(401);
  if (members[req.params.room]?.includes(user) !== true) return void res.sendStatus(403);
  res.locals.user = user;
  next();
};

// Who is new to the room sees what was said before; who comes back gets only what it missed.
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
