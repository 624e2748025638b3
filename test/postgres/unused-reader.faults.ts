import { setTimeout as sleep } from "node:timers/promises";
import { postgresBroker } from "express-event-source/postgres";
import { expect, it } from "vitest";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres("the reader of a postgresBroker without subscriptions", (postgres) => {
  it("stops asking a database that is away", async () => {
    const pool = postgres.pool();
    const broker = postgresBroker({ pool, pollInterval: 500 });
    await broker.migrate();
    const subscription = (await broker.subscribe("c"))[Symbol.asyncIterator]();
    void subscription.next();
    await sleep(300);
    await postgres.kill();
    await sleep(300);
    await subscription.return?.();
    await sleep(4000);
    let attempts = 0;
    const connect = pool.connect.bind(pool);
    (pool as any).connect = (...args: any[]) => {
      attempts++;
      return (connect as any)(...args);
    };
    await sleep(6000);
    expect(attempts).toBe(0);
    await broker.close();
  }, 60_000);
});
