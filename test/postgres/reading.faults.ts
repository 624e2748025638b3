import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import type { Pool } from "pg";
import { expect, it, onTestFinished } from "vitest";
import { Reader } from "../broker/reader.js";
import { TcpProxy } from "../redis/tcp-proxy.js";
import { describeWithPostgres } from "./postgres-server.js";

type Item = IteratorResult<any, undefined> | "nothing";
const within = (promise: Promise<any>, milliseconds: number): Promise<Item> =>
  Promise.race([promise, sleep(milliseconds).then(() => "nothing" as const)]);

describeWithPostgres(
  "the reads of postgresBroker",
  (postgres) => {
    let brokers = 0;
    const open = async (history?: HistoryOptions, options: Partial<PostgresBrokerOptions> = {}) => {
      const schema = `reads ${brokers++}`;
      const broker = postgresBroker({ pool: postgres.pool(), schema, history, ...options });
      await broker.migrate();
      onTestFinished(() => broker.close());
      return { broker, schema: options.schema ?? schema };
    };
    const read = async (it: AsyncIterator<any>, count: number, patience = 20_000) => {
      const got: any[] = [];
      for (let i = 0; i < count; i++) {
        const item = await within(it.next(), patience);
        if (item === "nothing") return [...got, "nothing"];
        if (item.done) return [...got, "done"];
        got.push(item.value.event === "gap" ? "gap" : item.value.data);
      }
      return got;
    };
    const forget = (schema: string) =>
      postgres.pool().query(`DELETE FROM "${schema}".events; DELETE FROM "${schema}".channels`);

    it("ends a slow subscription to an ended channel that is forgotten meanwhile", async () => {
      const pool = postgres.pool();
      const { broker, schema } = await open({ maxAge: 800 }, { pool });
      await Promise.all(Array.from({ length: 300 }, (_, n) => broker.publish("c", { data: n })));
      await broker.end("c");
      const it = (await broker.subscribe("c", { from: "start" }))[Symbol.asyncIterator]();
      await read(it, 1);
      for (;;) {
        const { rows } = await postgres.pool().query(`SELECT FROM "${schema}".channels`);
        if (rows.length === 0) break;
        await sleep(50);
      }
      expect(await read(it, 255)).toHaveLength(255);
      let queries = 0;
      pool.on("acquire", () => queries++);
      expect({ got: await read(it, 100), queries }).toEqual({
        got: expect.arrayContaining(["done"]),
        queries: expect.any(Number),
      });
    }, 60_000);

    it("does not ask for ever for what a lagging subscription missed in a channel that is gone", async () => {
      const pool = postgres.pool();
      const { broker, schema } = await open({}, { pool });
      await Promise.all(Array.from({ length: 300 }, (_, n) => broker.publish("c", { data: n })));
      const it = (await broker.subscribe("c", { from: "start" }))[Symbol.asyncIterator]();
      await forget(schema);
      let queries = 0;
      pool.on("acquire", () => queries++);
      expect(await read(it, 1)).toEqual(["gap"]);
      expect(await read(it, 1, 1_500)).toEqual(["nothing"]);
      expect(queries).toBeLessThan(20);
    }, 60_000);

    it("ends a subscription to an ended channel when the broker is closed while the database does not answer", async () => {
      const network = new TcpProxy(() => [postgres.port]);
      await network.listen();
      onTestFinished(() => network.close());
      const listen = { connectionString: postgres.url.replace(String(postgres.port), String(network.port)) };
      const { broker, schema } = await open({}, { listen });
      const { broker: other } = await open({}, { schema });
      await Promise.all(Array.from({ length: 300 }, (_, n) => broker.publish("c", { data: n })));
      await broker.end("c");
      const it = (await broker.subscribe("c", { from: "start" }))[Symbol.asyncIterator]();
      expect(await read(it, 256)).toHaveLength(256);
      await sleep(300);
      void network.deafen();
      await forget(schema);
      await other.publish("c", { data: "another" });
      const next = it.next();
      await sleep(300);
      await broker.close();
      expect(await within(next, 20_000)).toEqual({ done: true, value: undefined });
    }, 60_000);

    it("holds no page for a subscription that has caught up", async () => {
      setFlagsFromString("--expose-gc");
      const gc = runInNewContext("gc") as () => void;
      const { broker } = await open();
      for (let n = 0; n < 10; n++) await broker.publish("c", { data: "x".repeat(100_000) });
      const subscribe = async () => {
        const it = (await broker.subscribe("c", { from: "start" }))[Symbol.asyncIterator]();
        for (let i = 0; i < 10; i++) await it.next();
        void it.next();
        await sleep(1);
        return it;
      };
      await subscribe();
      gc();
      const before = process.memoryUsage().heapUsed;
      const all = [];
      for (let i = 0; i < 50; i++) all.push(await subscribe());
      await sleep(100);
      gc();
      const each = (process.memoryUsage().heapUsed - before) / 50;
      expect(all).toHaveLength(50);
      expect(each).toBeLessThan(100_000);
    }, 60_000);

    it("does not store an event after its publish was rejected, though others of the batch had more time", async () => {
      const { broker, schema } = await open({}, { timeout: 1000 });
      await broker.publish("a", { data: 0 });
      await broker.publish("b", { data: 0 });
      const client = await postgres.pool().connect();
      await client.query("BEGIN");
      await client.query(`SELECT FROM "${schema}".channels FOR UPDATE`);
      const count = async () =>
        Number((await postgres.pool().query(`SELECT last FROM "${schema}".channels WHERE name = 'b'`)).rows[0].last);
      const settle = (p: Promise<unknown>) =>
        p.then(
          () => "stored",
          () => "rejected",
        );
      const first = settle(broker.publish("a", { data: 1 }));
      await sleep(100);
      const second = settle(broker.publish("b", { data: 1 }));
      await sleep(800);
      const third = settle(broker.publish("b", { data: 2 }));
      expect(await first).toBe("rejected");
      const outcome = await second;
      const then = await count();
      await sleep(300);
      await client.query("COMMIT");
      client.release();
      await third;
      await sleep(100);
      expect(outcome).toBe("rejected");
      expect({ third: await third, then, last: await count() }).toEqual({ third: "stored", then: 1, last: 2 });
    }, 60_000);

    it("says no gap to a subscription that begins after a failover, beside one from before it", async () => {
      const { broker, schema } = await open({}, { listen: false, pollInterval: 3000 });
      for (let n = 1; n <= 12; n++) await broker.publish("c", { data: n });
      const old = (await broker.subscribe("c"))[Symbol.asyncIterator]();
      const waiting = old.next();
      await sleep(500);
      // The server lost 11 and 12, then another process published 11', 12', 13'.
      const pool = postgres.pool();
      await pool.query(`UPDATE "${schema}".events SET payload = '{"text":"new"}' WHERE n > 10`);
      await pool.query(
        `INSERT INTO "${schema}".events SELECT channel, 13, at, '{"text":"new"}' FROM "${schema}".events WHERE n = 12`,
      );
      // The real timeline is one that publish compares: let the era before be another.
      await pool.query(`UPDATE "${schema}".channels SET prior_era = era, era = era + 1, since = 10, last = 13`);
      const { rows } = await pool.query(`SELECT to_hex(id) || '.' || era || '-13' AS id FROM "${schema}".channels`);
      const now = (await broker.subscribe("c"))[Symbol.asyncIterator]();
      const back = (await broker.subscribe("c", { lastEventId: rows[0].id }))[Symbol.asyncIterator]();
      const [a, b] = await Promise.all([within(now.next(), 4500), within(back.next(), 4500), waiting]);
      expect([a, b]).toEqual(["nothing", "nothing"]);
    }, 60_000);

    it("reads what a transaction published within one interval, without listening", async () => {
      const { broker } = await open({}, { listen: false, pollInterval: 4_000 });
      const it = (await broker.subscribe("c"))[Symbol.asyncIterator]();
      const next = it.next();
      // Its first check is over.
      await sleep(700);
      const client = await postgres.pool().connect();
      await client.query("BEGIN");
      await broker.publish("c", { data: 1 }, { client });
      await client.query("COMMIT");
      client.release();
      const began = performance.now();
      await next;
      expect(performance.now() - began).toBeLessThan(6_500);
    }, 60_000);

    it("says that a producer is lost within its lease and a few seconds, without listening", async () => {
      const { broker, schema } = await open({}, { listen: false });
      const { broker: dying } = await open({}, { schema });
      await dying.produce(
        "c",
        async function* () {
          yield { data: 1 };
          await sleep(100_000, undefined, { ref: false });
          yield { data: 2 };
        },
        { lease: 1000 },
      );
      await sleep(300);
      const it = (await broker.subscribe("c", { from: "start" }))[Symbol.asyncIterator]();
      expect(await read(it, 1)).toEqual([1]);
      const next = it.next();
      await sleep(200);
      // The producer stands still: its token is taken away and the lease runs out.
      await postgres
        .pool()
        .query(
          `UPDATE "${schema}".channels SET producer = 'other', lease_until = clock_timestamp() + interval '1 second'`,
        );
      const began = performance.now();
      await next;
      expect(performance.now() - began).toBeLessThan(7_000);
    }, 60_000);

    it("fails nobody else's subscribe because of a name that the database cannot hold", async () => {
      await postgres.pool().query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
      const { broker } = await open({}, { pool: postgres.pool({ database: "latin" }) });
      const results = await Promise.allSettled([broker.subscribe("fine"), broker.subscribe("日本")]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    }, 60_000);

    it("keeps a channel from being forgotten from the moment of the subscription", async () => {
      const { broker, schema } = await open({ maxAge: 2000 });
      const { broker: other } = await open({ maxAge: 2000 }, { schema });
      // The reader runs.
      const it = (await broker.subscribe("other"))[Symbol.asyncIterator]();
      void it.next();
      await sleep(300);
      await other.publish("c", { data: 1 });
      await postgres
        .pool()
        .query(
          `UPDATE "${schema}".channels SET touched = touched - interval '1950 ms' WHERE name = 'c'; UPDATE "${schema}".events SET at = at - interval '1950 ms'`,
        );
      const sub = (await broker.subscribe("c"))[Symbol.asyncIterator]();
      const next = sub.next();
      await sleep(60);
      await postgres.pool().query(`SELECT "${schema}".sweep(-1, 2000)`);
      const { rowCount } = await postgres.pool().query(`SELECT FROM "${schema}".channels WHERE name = 'c'`);
      await other.publish("c", { data: 2 });
      const item: any = await within(next, 20_000);
      expect({ rowCount, event: item.value?.event, data: item.value?.data }).toEqual({
        rowCount: 1,
        event: undefined,
        data: 2,
      });
    }, 60_000);

    it("reports a gap as soon as it finds its channel gone, and hears at once of another one of the same name", async () => {
      const pool = postgres.pool({ application_name: "forgotten" });
      const { broker, schema } = await open({}, { pool, pollInterval: 600_000 });
      const { broker: other } = await open({}, { schema });
      const reader = new Reader(await broker.subscribe("c"));
      const first = reader.expectNext(1, 2);
      for (const data of [1, 2]) await other.publish("c", { data });
      await first;
      await forget(schema);
      await postgres
        .pool()
        .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forgotten'");
      await reader.expectNext("gap");
      await other.publish("c", { data: "new" });
      await reader.expectNext("new");
    }, 30_000);

    it("does not store an event after its publish was rejected, though its batch had to be split", async () => {
      await postgres.pool().query("CREATE DATABASE latin2 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
      const pool: Pool = postgres.pool({ database: "latin2", max: 1 });
      const { broker, schema } = await open({}, { pool, timeout: 1000 });
      await broker.publish("fine", { data: 0 });
      await sleep(200);
      const settle = (p: Promise<unknown>) =>
        p.then(
          () => "stored",
          () => "rejected",
        );
      const client = await pool.connect();
      const outcomes = Promise.all([
        settle(broker.publish("fine", { data: 1 })),
        settle(broker.publish("日本", { data: 1 })),
      ]);
      await sleep(850);
      client.release();
      const held: Promise<void> = new Promise((resolve) =>
        pool.connect(
          (_e, _c, release) =>
            void sleep(600).then(() => {
              release();
              resolve();
            }),
        ),
      );
      const [fine] = await outcomes;
      await held;
      await sleep(500);
      const { rows } = await pool.query(`SELECT last FROM "${schema}".channels WHERE name = 'fine'`);
      expect({ fine, last: rows[0].last }).toEqual({ fine: "rejected", last: "1" });
    }, 60_000);

    it("has closed the connection that was just being made when close() resolves", async () => {
      const { broker } = await open();
      const name = "eyes-closing";
      const { broker: mine } = await open({}, { pool: postgres.pool({ application_name: name }) });
      const it = (await mine.subscribe("c"))[Symbol.asyncIterator]();
      void it.next();
      await mine.close();
      let most = 0;
      for (let i = 0; i < 20; i++) {
        const { rows } = await postgres
          .pool()
          .query(`SELECT query FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%LISTEN%'`, [name]);
        most = Math.max(most, rows.length);
        await sleep(5);
      }
      expect(broker).toBeDefined();
      expect(most).toBe(0);
    }, 60_000);
  },
  ["fsync=off"],
);
