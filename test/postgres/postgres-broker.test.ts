import { setTimeout as sleep } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import type { Pool } from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { brokerContract } from "../broker/contract.js";
import { describeWithPostgres } from "./postgres-server.js";

let brokers = 0;

/** Brokers of one database, each with a schema of its own. */
function subject(
  pool: () => PostgresBrokerOptions["pool"],
  runs: number,
  options: Partial<PostgresBrokerOptions> = {},
) {
  return {
    open: async (history?: HistoryOptions) => {
      const broker = postgresBroker({ pool: pool(), schema: `test ${brokers++}`, history, ...options });
      await broker.migrate();
      return broker;
    },
    pass: async (milliseconds: number) => void (await sleep(milliseconds)),
    runs,
  };
}

describeWithPostgres(
  "PostgreSQL",
  (postgres) => {
    let pool: Pool;
    beforeAll(() => void (pool = postgres.pool()));

    brokerContract(
      "postgresBroker",
      subject(() => pool, 15),
    );
  },
  // Whatever the default is.
  ["default_transaction_isolation=serializable", "fsync=off"],
);

describe("PGlite", () => {
  let database: PGlite;
  beforeAll(async () => void (database = await PGlite.create()));
  afterAll(() => database.close());

  brokerContract(
    "postgresBroker on PGlite",
    subject(() => database, 10),
  );
});
