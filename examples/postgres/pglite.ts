// The same broker with nothing to install: PGlite is Postgres inside this process. A laptop and the tests use it, and
// production a Pool of pg; no other line changes.
//
//     curl -N http://localhost:3000/notes
//     curl http://localhost:3000/notes --json '{ "text": "hello" }'
import type { AddressInfo } from "node:net";
import { PGlite } from "@electric-sql/pglite";
import express from "express";
import { eventSource } from "express-event-source";
import { postgresBroker } from "express-event-source/postgres";

const database = await PGlite.create(); // in memory; PGlite.create("./data") keeps it
const broker = postgresBroker({ pool: database });
await broker.migrate();
await database.exec("CREATE TABLE IF NOT EXISTS notes (id int GENERATED ALWAYS AS IDENTITY, text text NOT NULL)");

const app = express();
app.get(
  "/notes",
  eventSource((_req, stream) => broker.subscribe("notes", { ...stream, from: "start" })),
);

app.post("/notes", express.json(), async (req, res) => {
  await database.transaction(async (tx) => {
    // A null is no text: the transaction fails, and the event with it. Within it, every publish needs its { client }:
    // there is one connection, so that one without it would wait for the transaction's end, which waits for it.
    await broker.publish("notes", { event: "note", data: { text: req.body.text } }, { client: tx });
    await tx.query("INSERT INTO notes (text) VALUES ($1)", [req.body.text]);
  });
  res.sendStatus(201);
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/notes", (server.address() as AddressInfo).port);
});
