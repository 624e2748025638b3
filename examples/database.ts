// The rows of a table through a cursor: fetched when the client has room for them, closed when it leaves.
//
//     curl -N http://localhost:3000/articles
//     curl -N http://localhost:3000/articles -H "Last-Event-ID: 19998"
//     curl -i http://localhost:3000/articles -H "Last-Event-ID: 20000"
//     curl http://localhost:3000/cursors
import type { AddressInfo } from "node:net";
import { PGlite } from "@electric-sql/pglite";
import express from "express";
import { eventSource } from "express-event-source";

interface Article {
  id: number;
  title: string;
  text: string;
}

const app = express();
const db = new PGlite();
await db.exec(`
  CREATE TABLE articles (id int PRIMARY KEY, title text, text text);
  INSERT INTO articles SELECT n, 'Article ' || n, repeat('bla ', 200) FROM generate_series(1, 20000) AS n;
`);

let opened = 0;

async function* articles(after: number) {
  const cursor = `articles_${++opened}`;
  // WITH HOLD because all clients share the one connection of this database. With a connection for
  // each, from a pool, a transaction serves as well, and costs the database no copy of the rows.
  await db.query(`DECLARE ${cursor} CURSOR WITH HOLD FOR SELECT * FROM articles WHERE id > $1 ORDER BY id`, [after]);
  try {
    for (;;) {
      const { rows } = await db.query<Article>(`FETCH 100 FROM ${cursor}`);
      if (rows.length === 0) return;
      for (const { id, ...data } of rows) yield { id, data };
    }
  } finally {
    await db.exec(`CLOSE ${cursor}`);
    console.log("%s closed", cursor);
  }
}

app.get(
  "/articles",
  eventSource(async (_req, { lastEventId }) => {
    const after = Number(lastEventId ?? 0);
    const { rows } = await db.query("SELECT FROM articles WHERE id > $1 LIMIT 1", [after]);
    // Nothing left: 204, at which an EventSource stops coming back.
    return rows.length === 0 ? null : articles(after);
  }),
);

app.get("/cursors", async (_req, res) => {
  const { rows } = await db.query<{ name: string }>("SELECT name FROM pg_cursors WHERE name LIKE 'articles%'");
  res.json(rows.map(({ name }) => name));
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/articles", (server.address() as AddressInfo).port);
});
