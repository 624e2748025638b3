import { postgresBroker } from "express-event-source/postgres";
import { Pool } from "pg";
import { produceWords } from "../broker/producer-process.js";

const pool = new Pool({ connectionString: process.env["DATABASE_URL"] as string });
pool.on("error", () => {});
const broker = postgresBroker({ pool, timeout: 300 });
await produceWords(broker);
await broker.close();
await pool.end();
