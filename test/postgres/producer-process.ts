import { setTimeout as sleep } from "node:timers/promises";
import { postgresBroker } from "express-event-source/postgres";
import { Pool } from "pg";

// A process that produces an answer, word by word: the tests kill it, or have it stand still.

const pool = new Pool({ connectionString: process.env["DATABASE_URL"] as string });
pool.on("error", () => {});
const broker = postgresBroker({ pool, timeout: 300 });
const run = await broker.produce(
  process.env["CHANNEL"] as string,
  async function* () {
    for (let data = 0; ; data++) {
      yield { data };
      await sleep(20);
    }
  },
  { lease: 1000 },
);
console.log("producing");
console.log(await run?.done);
await broker.close();
await pool.end();
