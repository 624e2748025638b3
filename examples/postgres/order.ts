// An order and its event in one transaction: the page hears of an order if and only if it is in the table. One that is rolled
// back is never heard of. Start it with DATABASE_URL=postgres://user:password@localhost/database.
//
//     curl -N http://localhost:3000/orders
//     curl -i http://localhost:3000/orders --json '{ "item": "tea", "euros": 5 }'
//     curl -i http://localhost:3000/orders --json '{ "item": "gold", "euros": 5000 }'
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";
import { postgresBroker } from "express-event-source/postgres";
import { Pool, type PoolClient } from "pg";

interface OrderPlaced {
  event: "order";
  data: { id: number; item: string };
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
const broker = postgresBroker<OrderPlaced>({ pool });
await broker.migrate();
await pool.query("CREATE TABLE IF NOT EXISTS orders (id int GENERATED ALWAYS AS IDENTITY, item text, euros int)");

async function inTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

class TooDear extends Error {}

const app = express();
app.get(
  "/orders",
  eventSource((_req, stream) => broker.subscribe("orders", stream)),
);

app.post("/orders", express.json(), async (req, res) => {
  const { item, euros } = req.body as { item: string; euros: number };
  try {
    const id = await inTransaction(async (client) => {
      const insert = "INSERT INTO orders (item, euros) VALUES ($1, $2) RETURNING id";
      const { rows } = await client.query<{ id: number }>(insert, [item, euros]);
      const { id } = rows[0] as { id: number };
      await broker.publish("orders", { event: "order", data: { id, item } }, { client });
      // Too late for a broker that knows nothing of transactions: its subscribers would have heard of the order.
      if (euros > 1000) throw new TooDear();
      return id;
    });
    res.status(201).json({ id });
  } catch (error) {
    if (!(error instanceof TooDear)) throw error;
    res.status(402).json({ error: "That is more than you can pay." });
  }
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/orders", (server.address() as AddressInfo).port);
});
