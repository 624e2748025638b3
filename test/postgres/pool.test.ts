import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { postgresBroker } from "express-event-source/postgres";
import type { PoolClient } from "pg";
import { expect, it, onTestFinished, vi } from "vitest";
import { Deadline } from "../../src/postgres/deadline.js";
import { PoolDatabase } from "../../src/postgres/pool.js";
import { ServerClock } from "../../src/postgres/server-clock.js";
import { dataOf, Reader } from "../broker/reader.js";
import { Gate, turn } from "../support/stage.js";
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

  it("gives a subscription what it asked for while the read that finds the channel ended was under way", async () => {
    const pool = postgres.pool();
    const held = new Gate();
    const asked = new Gate();
    let isHolding = false;
    pool.on("connect", (client: PoolClient) => {
      const query = client.query.bind(client) as (question: { text: string }) => Promise<unknown>;
      client.query = (async (question: { text: string }) => {
        if (isHolding && question.text.includes(".read(")) {
          asked.open();
          await held.opened;
        }
        return query(question);
      }) as never;
    });
    const broker = postgresBroker({ pool, listen: false });
    onTestFinished(() => broker.close());
    await broker.migrate();
    const early = new Reader(await broker.subscribe("ended"));
    const earlier = early.rest();
    await vi.waitFor(() => expect(pool.idleCount).toBe(pool.totalCount), 20_000);
    isHolding = true;
    await broker.publish("ended", { data: 1 });
    await asked.opened;
    await broker.end("ended");
    const late = new Reader(await broker.subscribe("ended", { from: "start" }));
    const later = late.rest();
    await turn();
    isHolding = false;
    held.open();
    expect(dataOf(await earlier)).toEqual([1]);
    expect(dataOf(await later)).toEqual([1]);
  });

  it("is closed for its subscriptions although the end of a producer's channel is still being written", async () => {
    const pool = postgres.pool();
    const ending = new Gate();
    pool.on("connect", (client: PoolClient) => {
      const query = client.query.bind(client) as (question: { text: string }) => Promise<unknown>;
      client.query = (async (question: { text: string }) => {
        if (question.text.includes(".produce('end'")) await ending.opened;
        return query(question);
      }) as never;
    });
    const broker = postgresBroker({ pool });
    await broker.migrate();
    const rest = new Reader(await broker.subscribe("another")).rest();
    const run = await broker.produce("answer", ({ signal }) => once(signal, "abort") as Promise<never>);
    const closing = broker.close();
    expect(await rest).toEqual([]);
    ending.open();
    await closing;
    expect(await run?.done).toBe("stopped");
  });

  it("refuses to produce at once where the pool has been ended", async () => {
    const pool = postgres.pool();
    const broker = postgresBroker({ pool });
    onTestFinished(() => broker.close());
    await broker.migrate();
    await pool.end();
    const error = { code: "ERR_BROKER_UNAVAILABLE", message: expect.stringContaining("pool") };
    await expect(broker.produce("a", () => [], { lease: 600_000 })).rejects.toMatchObject(error);
  });

  it("refuses to produce at once, too, while the pool that is being ended waits for a client", async () => {
    const pool = postgres.pool();
    const broker = postgresBroker({ pool });
    onTestFinished(() => broker.close());
    await broker.migrate();
    const client = await pool.connect();
    const end = pool.end();
    const error = { code: "ERR_BROKER_UNAVAILABLE", message: expect.stringContaining("pool") };
    await expect(broker.produce("a", () => [], { lease: 600_000 })).rejects.toMatchObject(error);
    client.release();
    await end;
  });

  it("does not commit statements that took too long only together", async () => {
    const pool = postgres.pool({ application_name: "slow" });
    await pool.query("CREATE TABLE done (what text)");
    const slow = "INSERT INTO done SELECT 'slow' FROM pg_sleep(0.3)";
    const run = new PoolDatabase(pool, undefined).run([slow, slow], new Deadline(500));
    await expect(run).rejects.toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
    // The server notices only after the transaction that its client has gone.
    const busy = "SELECT FROM pg_stat_activity WHERE application_name = 'slow' AND pid <> pg_backend_pid()";
    await vi.waitFor(async () => expect((await pool.query(busy)).rowCount).toBe(0), 5_000);
    expect((await pool.query("SELECT FROM done")).rowCount).toBe(0);
  });
});

it("closes in order where its PGlite was closed before it", async () => {
  const pool = await PGlite.create();
  const broker = postgresBroker({ pool });
  await broker.migrate();
  const subscription = await broker.subscribe("a");
  const rest = subscription[Symbol.asyncIterator]().next();
  const listening = "SELECT 1 FROM pg_listening_channels()";
  await vi.waitFor(async () => expect((await pool.query(listening)).rows).not.toEqual([]), 20_000);
  await pool.close();
  await broker.close();
  expect(await rest).toMatchObject({ done: true });
});

it("closes in time where a transaction of the application keeps its PGlite busy", async () => {
  const pool = await PGlite.create();
  onTestFinished(() => pool.close());
  const broker = postgresBroker({ pool, timeout: 1_000 });
  await broker.migrate();
  const rest = new Reader(await broker.subscribe("a")).rest();
  const listening = "SELECT 1 FROM pg_listening_channels()";
  await vi.waitFor(async () => expect((await pool.query(listening)).rows).not.toEqual([]), 20_000);
  await pool.transaction(() => broker.close());
  expect(await rest).toEqual([]);
});

it("publishes at once where the clock of its database has been set forward or back", async () => {
  const pool = await PGlite.create();
  onTestFinished(() => pool.close());
  const broker = postgresBroker({ pool });
  onTestFinished(() => broker.close());
  await broker.migrate();
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const clock = async () =>
    (await pool.query<{ year: number }>("SELECT extract(year FROM clock_timestamp())::int AS year")).rows;
  for (const [index, year] of [2030, 2050, 2031, 2030].entries()) {
    vi.setSystemTime(new Date(`${year}-06-01`));
    expect(await clock()).toEqual([{ year }]);
    expect(await broker.publish("a", { data: year })).toMatch(new RegExp(`-${index + 1}$`));
  }
});

it("asks next to nothing of its database while a producer has not got its first item", async () => {
  const pool = await PGlite.create();
  onTestFinished(() => pool.close());
  let asked = 0;
  const transaction = pool.transaction.bind(pool);
  pool.transaction = (callback) => {
    // PGlite answers in microtasks: without a bound, no timer would end a loop.
    if (++asked > 200) throw new Error("asked again and again");
    return transaction(callback);
  };
  const broker = postgresBroker({ pool });
  onTestFinished(() => broker.close());
  await broker.migrate();
  const first = new Gate();
  const run = await broker.produce("a", async function* () {
    await first.opened;
    yield { data: "answer" };
  });
  await broker.publish("a", { data: "note" });
  const listening = "SELECT 1 FROM pg_listening_channels()";
  await vi.waitFor(async () => expect((await pool.query(listening)).rows).not.toEqual([]), 20_000);
  await broker.publish("a", { data: "another" });
  for (let turns = 0; turns < 20; turns++) await turn();
  expect(asked).toBeLessThan(20);
  first.open();
  expect(await run?.done).toBe("completed");
});

it("says that the database did not answer where the process itself stood still until the time was up", async () => {
  const pool = await PGlite.create();
  onTestFinished(() => pool.close());
  const broker = postgresBroker({ pool, listen: false, timeout: 50 });
  onTestFinished(() => broker.close());
  await broker.migrate();
  // The first one takes long, because the functions are new.
  await vi.waitFor(() => broker.publish("a", { data: 1 }), 10_000);
  const transaction = pool.transaction.bind(pool);
  const standstills = [30, 60];
  pool.transaction = (callback) => {
    const until = performance.now() + (standstills.shift() ?? 0);
    while (performance.now() < until);
    return transaction(callback);
  };
  const publishes = [broker.publish("a", { data: 2 })];
  // Waits in the process meanwhile, so that a part of its time is over before it is sent.
  queueMicrotask(() => queueMicrotask(() => void publishes.push(broker.publish("a", { data: 3 }))));
  await publishes[0]?.catch(() => {});
  await expect(publishes[1]).rejects.toMatchObject({
    code: "ERR_BROKER_UNAVAILABLE",
    message: expect.stringContaining("did not answer within 50 ms"),
  });
});

it.each([
  '-1 is outside the valid range for parameter "lock_timeout" (0 .. 2147483647)',
  "-1 ist außerhalb des gültigen Bereichs für Parameter »statement_timeout« (0 ... 2147483647)",
])("runs again what a server whose clock has been set forward found too late: %s", async (message) => {
  const refusals = [Object.assign(new Error(message), { code: "22023" })];
  const ask = async (text: string) => {
    if (!text.startsWith("SET")) return [[["0"]]];
    const refusal = refusals.shift();
    if (refusal !== undefined) throw refusal;
    return [[], [["0"]], [["done"]], [["0"]]];
  };
  expect(await new ServerClock().transaction(ask, ["SELECT 'done'"], new Deadline(60_000))).toEqual([[["done"]]]);
});
