import { postgresBroker, type PostgresBroker } from "express-event-source/postgres";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { read } from "../broker/contract.js";
import { processContract, startProducer } from "../broker/contract-process.js";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres("the process of a producer on Postgres", (postgres) => {
  let broker: PostgresBroker;
  beforeEach(async () => {
    broker = postgresBroker({ pool: postgres.pool() });
    onTestFinished(() => broker.close());
    await broker.migrate();
  });

  const file = new URL("producer-process.ts", import.meta.url);
  const start = (channel: string) => startProducer(file, { DATABASE_URL: postgres.url }, channel);

  processContract(() => broker, start);

  it("that is killed leaves `lost` to those who subscribe when nobody has noticed yet", async () => {
    const [child] = await start("unnoticed");
    const reader = await read(broker, "unnoticed", { from: "start" });
    await reader.take(3);
    await reader.return();
    await broker.close();
    child.kill("SIGKILL");
    const pool = postgres.pool();
    const isOver = "SELECT FROM event_source.channels WHERE name = 'unnoticed' AND lease_until < clock_timestamp()";
    while ((await pool.query(isOver)).rowCount === 0);
    const late = postgresBroker({ pool });
    onTestFinished(() => late.close());
    const rest = await (await read(late, "unnoticed", { from: "start" })).rest();
    expect(rest.map(({ event }) => event).filter((event) => event !== undefined)).toEqual(["lost"]);
  });
});
