import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import { Client, type ClientConfig } from "pg";
import { expect, it, onTestFinished, vi } from "vitest";
import { bellOf } from "../../src/postgres/schema.js";
import { keyOf } from "../../src/postgres/tail-index.js";
import { Reader } from "../broker/reader.js";
import { TcpProxy } from "../redis/tcp-proxy.js";
import { turn, until } from "../support/stage.js";
import { describeWithPostgres } from "./postgres-server.js";

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
    const query = async (sql: string): Promise<unknown[]> => (await postgres.pool().query<object>(sql)).rows;
    const forget = (schema: string) => query(`DELETE FROM "${schema}".events; DELETE FROM "${schema}".channels`);
    /** Resolves when a connection of this name listens, and has checked all channels since. */
    const listening = (name: string) =>
      vi.waitFor(async () => {
        const checks = `application_name = '${name}' AND query LIKE '%touch(%'`;
        expect(await query(`SELECT 1 FROM pg_stat_activity WHERE ${checks}`)).not.toEqual([]);
      }, 10_000);
    const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
    const publish = (broker: PostgresBroker, count: number) =>
      Promise.all(numbers(count).map((data) => broker.publish("c", { data })));

    it("ends a slow subscription to an ended channel that is forgotten meanwhile", async () => {
      const { broker, schema } = await open({ maxAge: 800 });
      await publish(broker, 300);
      await broker.end("c");
      const reader = new Reader(await broker.subscribe("c", { from: "start" }));
      // Brings a page of 256.
      await reader.expectNext(0);
      await vi.waitFor(async () => expect(await query(`SELECT 1 FROM "${schema}".channels`)).toEqual([]), 10_000);
      await reader.expectRest(...numbers(256).slice(1), "gap");
    });

    it("does not ask for ever for what a lagging subscription missed in a channel that is gone", async () => {
      const pool = postgres.pool();
      const { broker, schema } = await open({}, { pool });
      const { broker: other } = await open({}, { schema });
      await publish(broker, 300);
      const reader = new Reader(await broker.subscribe("c", { from: "start" }));
      await forget(schema);
      let queries = 0;
      pool.on("acquire", () => queries++);
      await reader.expectNext("gap");
      const next = reader.next();
      // A reader that asks again and again would do so during all of these.
      for (let n = 0; n < 100; n++) await other.publish("another", { data: n });
      expect(queries).toBeLessThan(20);
      await other.publish("c", { data: "new" });
      // The page and the tail may each have found it gone.
      const { value } = await next;
      if (value?.id === undefined) await reader.expectNext("new");
      else expect(value.data).toBe("new");
    });

    it("ends a subscription to an ended channel when the broker is closed while the database does not answer", async () => {
      const network = new TcpProxy(() => [postgres.port]);
      await network.listen();
      onTestFinished(() => network.close());
      const address = postgres.url.replace(String(postgres.port), String(network.port));
      const listen = { connectionString: `${address}?application_name=deafened` };
      const { broker, schema } = await open({}, { listen });
      const { broker: other } = await open({}, { schema });
      await publish(broker, 300);
      await broker.end("c");
      const reader = new Reader(await broker.subscribe("c", { from: "start" }));
      // Keeps the broker listening when the channel has ended.
      const another = new Reader(await broker.subscribe("another")).rest();
      await reader.expectNext(...numbers(256));
      await listening("deafened");
      const unanswered = network.deafen();
      await forget(schema);
      await other.publish("c", { data: "another" });
      const rest = reader.rest();
      await unanswered;
      await broker.close();
      expect(await Promise.all([rest, another])).toEqual([[], []]);
    });

    it("holds no page for a subscription that has caught up", async () => {
      setFlagsFromString("--expose-gc");
      const gc = runInNewContext("gc") as () => void;
      const { broker } = await open();
      for (let n = 0; n < 10; n++) await broker.publish("c", { data: "x".repeat(100_000) });
      const readers: Reader[] = [];
      const add = async (): Promise<void> => {
        const reader = new Reader(await broker.subscribe("c", { from: "start" }));
        await reader.take(10);
        void reader.next();
        readers.push(reader);
      };
      const heapUsed = async (): Promise<number> => {
        await turn();
        gc();
        return process.memoryUsage().heapUsed;
      };
      await add();
      const before = await heapUsed();
      for (let n = 0; n < 50; n++) await add();
      const each = ((await heapUsed()) - before) / 50;
      expect(readers).toHaveLength(51);
      expect(each).toBeLessThan(100_000);
    });

    it("says no gap to a subscription that begins after a failover, beside one from before it", async () => {
      const pool = postgres.pool({ application_name: "failover" });
      const { broker, schema } = await open({}, { pool, pollInterval: 600_000 });
      for (let n = 1; n <= 12; n++) await broker.publish("c", { data: n });
      const old = new Reader(await broker.subscribe("c"));
      const first = old.next();
      await listening("failover");
      // The server lost 11 and 12, then another process published 11', 12', 13'.
      await query(`UPDATE "${schema}".events SET payload = '{"text":"new"}' WHERE n > 10`);
      const add = (n: number, text: string) =>
        query(`INSERT INTO "${schema}".events SELECT id, ${n}, now(), '{"text":"${text}"}' FROM "${schema}".channels`);
      await add(13, "new");
      await query(`UPDATE "${schema}".channels SET prior_era = era, era = era + 1, since = 10, last = 13`);
      const [channel] = (await query(`SELECT to_hex(id) || '.' || era AS run FROM "${schema}".channels`)) as [
        { run: string },
      ];
      const now = new Reader(await broker.subscribe("c"));
      const back = new Reader(await broker.subscribe("c", { lastEventId: `${channel.run}-13` }));
      const next = [now, back].map((reader) => reader.expectNext("last"));
      // What the broker would hear of the next event. It reads the channel only now.
      await add(14, "last");
      await query(`UPDATE "${schema}".channels SET last = 14`);
      await query(`SELECT pg_notify('${bellOf(schema)}', '${keyOf("c")}:14')`);
      await Promise.all(next);
      expect(await first).toMatchObject({ value: { event: "gap" } });
      await old.expectNext("new", "new", "new", "last");
    });

    it("reports a gap as soon as it finds its channel gone, and hears at once of another one of the same name", async () => {
      const pool = postgres.pool({ application_name: "forgotten" });
      const { broker, schema } = await open({}, { pool, pollInterval: 600_000 });
      const { broker: other } = await open({}, { schema });
      const reader = new Reader(await broker.subscribe("c"));
      const first = reader.expectNext(1, 2);
      for (const data of [1, 2]) await other.publish("c", { data });
      await first;
      await forget(schema);
      await query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'forgotten'");
      await reader.expectNext("gap");
      await other.publish("c", { data: "new" });
      await reader.expectNext("new");
    });

    it("reads what a transaction published at the next check, without listening", async () => {
      let checks = 0;
      class CountingClient extends Client {
        constructor(config?: ClientConfig) {
          super(config);
          const run = this.query.bind(this) as (config: { text?: string }) => unknown;
          const counting = (config: { text?: string }): unknown => {
            if (config.text?.includes(".touch(") === true && config.text.includes(".read(")) checks++;
            return run(config);
          };
          Object.assign(this, { query: counting });
        }
      }
      const pool = postgres.pool({ Client: CountingClient });
      const { broker } = await open({}, { pool, listen: false, pollInterval: 1_000 });
      const reader = new Reader(await broker.subscribe("c"));
      const next = reader.expectNext(1);
      await until(() => checks === 1);
      const client = await postgres.pool().connect();
      await client.query("BEGIN");
      await broker.publish("c", { data: 1 }, { client });
      await client.query("COMMIT");
      client.release();
      const before = checks;
      await next;
      expect(checks).toBeLessThanOrEqual(before + 1);
    });

    it("says that a producer is lost long before the next check, without listening", async () => {
      const { broker, schema } = await open({}, { listen: false, pollInterval: 600_000 });
      const { broker: dying } = await open({}, { schema });
      await dying.produce("c", async function* ({ signal }) {
        yield { data: 1 };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      });
      const reader = new Reader(await broker.subscribe("c", { from: "start" }));
      await reader.expectNext(1);
      // The producer stands still: another has the token, and its lease runs out.
      const lease = "lease_until = clock_timestamp() + interval '1 second'";
      await query(`UPDATE "${schema}".channels SET producer = 'other', ${lease}`);
      expect((await reader.rest()).map(({ event }) => event)).toEqual(["lost"]);
    });

    it("fails nobody else's subscribe because of a name that the database cannot hold", async () => {
      await query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
      const { broker } = await open({}, { pool: postgres.pool({ database: "latin" }) });
      const results = await Promise.allSettled([broker.subscribe("fine"), broker.subscribe("日本")]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    });

    it("keeps a channel from being forgotten from the moment of the subscription", async () => {
      const { broker, schema } = await open({ maxAge: 300_000 });
      await broker.publish("c", { data: 1 });
      const old = "clock_timestamp() - interval '200 s'";
      await query(`UPDATE "${schema}".channels SET touched = ${old}; UPDATE "${schema}".events SET at = ${old}`);
      const reader = new Reader(await broker.subscribe("c"));
      await query(`SELECT "${schema}".sweep(-1, 100000)`);
      const next = reader.expectNext(2);
      await broker.publish("c", { data: 2 });
      await next;
    });

    it("has closed the connection that was just being made when close() resolves", async () => {
      const pooled = new Set<unknown>();
      const own = new Set<unknown>();
      class WatchedClient extends Client {
        constructor(config?: ClientConfig) {
          super(config);
          own.add(this);
          this.on("end", () => void own.delete(this));
        }
      }
      const pool = postgres.pool({ Client: WatchedClient });
      pool.on("connect", (client) => void pooled.add(client));
      const { broker } = await open({}, { pool });
      const rest = new Reader(await broker.subscribe("c")).rest();
      await broker.close();
      expect(await rest).toEqual([]);
      expect([...own].filter((client) => !pooled.has(client))).toEqual([]);
    });
  },
  ["fsync=off"],
);
