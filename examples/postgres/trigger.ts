// A trigger publishes: whatever changes the table, from whichever language, its rows reach the page.
// Start it with DATABASE_URL=postgres://user:password@localhost/database.
//
//     curl -N http://localhost:3000/stock
//     psql $DATABASE_URL -c "UPDATE stock SET left_over = left_over - 1 WHERE item = 'tea'"
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";
import { postgresBroker } from "express-event-source/postgres";
import { Pool } from "pg";

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
const broker = postgresBroker({ pool });
await broker.migrate();
await pool.query(`
  CREATE TABLE IF NOT EXISTS stock (item text PRIMARY KEY, left_over int);
  INSERT INTO stock VALUES ('tea', 10), ('cake', 3) ON CONFLICT DO NOTHING;

  CREATE OR REPLACE FUNCTION tell_stock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM event_source.publish('stock', json_build_object('event', 'stock', 'data', NEW));
    RETURN NULL;
  END $$;
  CREATE OR REPLACE TRIGGER tell_stock AFTER UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION tell_stock();`);

const app = express();
app.get(
  "/stock",
  eventSource((_req, stream) => broker.subscribe("stock", stream)),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/stock", (server.address() as AddressInfo).port);
});
