import { setTimeout as sleep } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { postgresBroker } from "express-event-source/postgres";
import { afterAll, beforeAll, describe } from "vitest";
import { produceContract } from "../broker/contract-produce.js";

// The same statements as on a server, which `npm test` has the contract on: here because it takes long.
describe("producers on PGlite", () => {
  let database: PGlite;
  beforeAll(async () => void (database = await PGlite.create()));
  afterAll(() => database.close());

  let brokers = 0;
  produceContract("postgresBroker on PGlite", {
    open: async (history) => {
      const broker = postgresBroker({ pool: database, schema: `produce ${brokers++}`, history });
      await broker.migrate();
      return broker;
    },
    pass: async (milliseconds) => void (await sleep(milliseconds)),
  });
});
