import { setTimeout as sleep } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { postgresBroker } from "express-event-source/postgres";
import type { PoolClient } from "pg";
import { expect, it, onTestFinished, vi } from "vitest";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres("postgresBroker and its pool", (postgres) => {
  it("survives a server that ends a connection in the moment in which the pool gives it", async () => {
    const pool = postgres.pool();
    const broker = postgresBroker({ pool });
    onTestFinished(() => broker.close());
    await broker.migrate();
    const uncaught: unknown[] = [];
    const note = (error: unknown): void => void uncaught.push(error);
    process.on("uncaughtException", note);
    onTestFinished(() => void process.off("uncaughtException", note));
    let acquired = 0;
    pool.on("acquire", (client: PoolClient) => {
      acquired += 1;
      // Ticks go before promises.
      process.nextTick(() => client.emit("error", new Error("terminating connection")));
    });
    await broker.publish("a", { data: 1 });
    await sleep(0);
    expect(acquired).toBeGreaterThan(0);
    expect(uncaught).toEqual([]);
  });
});

it("closes in order where its PGlite was closed before it", async () => {
  const pool = await PGlite.create();
  const broker = postgresBroker({ pool });
  await broker.migrate();
  const subscription = await broker.subscribe("a");
  const rest = subscription[Symbol.asyncIterator]().next();
  const listening = "SELECT 1 FROM pg_listening_channels()";
  await vi.waitFor(async () => expect((await pool.query(listening)).rows).not.toEqual([]));
  await pool.close();
  await broker.close();
  expect(await rest).toMatchObject({ done: true });
});
