import { setTimeout as sleep } from "node:timers/promises";
import { postgresBroker } from "express-event-source/postgres";
import { expect, it } from "vitest";
import { describeWithPostgres } from "./postgres-server.js";
describeWithPostgres("eyes", (postgres) => {
  it("F11: a reader without subscriptions stops asking where the database is away", async () => {
    const pool = postgres.pool();
    const broker = postgresBroker({ pool, pollInterval: 500 });
    await broker.migrate();
    const it = (await broker.subscribe("c"))[Symbol.asyncIterator]();
    void it.next();
    await sleep(300);
    await postgres.kill();
    await sleep(300);
    await it.return?.();
    await sleep(4000);
    let attempts = 0;
    const connect = pool.connect.bind(pool);
    (pool as any).connect = (...args: any[]) => {
      attempts++;
      return (connect as any)(...args);
    };
    await sleep(6000);
    expect(attempts).toBeLessThan(1);
    await broker.close();
  }, 30_000);
});
