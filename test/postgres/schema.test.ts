import { setTimeout as sleep } from "node:timers/promises";
import { postgresBroker, type PostgresBrokerOptions, postgresSchema } from "express-event-source/postgres";
import { types, type Pool } from "pg";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { versionOf } from "../../src/postgres/schema.js";
import { read, tooMany } from "../broker/contract.js";
import { describeWithPostgres } from "./postgres-server.js";

const unavailable = (message: RegExp) => ({ code: "ERR_BROKER_UNAVAILABLE", message: expect.stringMatching(message) });

describe("the options of postgresBroker", () => {
  const pool = {
    totalCount: 0,
    options: {},
    Client: class {},
    connect: () => Promise.reject(new Error("no")),
  } as never;
  it.each<[string, object]>([
    ["pool", {}],
    ["pool", { pool: "postgres://" }],
    ["schema", { schema: "" }],
    ["schema", { schema: "pg_events" }],
    ["schema", { schema: "é".repeat(32) }],
    ["schema", { schema: "a\0" }],
    ["history.maxAge", { history: { maxAge: -1 } }],
    ["listen", { listen: "postgres://" }],
    ["listen", { listen: {} }],
    ["pollInterval", { pollInterval: 0 }],
    ["timeout", { timeout: Infinity }],
    ["client", { client: {} }],
  ])("a wrong %s is refused, naming it: %j", (field, options) => {
    const given = field === "pool" ? options : { pool, ...options };
    expect(() => postgresBroker(given as PostgresBrokerOptions)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_OPTION", field }),
    );
  });

  it("a change to the comments of the schema needs no migration", () => {
    const schema = postgresSchema();
    const other = schema.replace(/^ *-- .*$/gm, "-- Something else.\n").replace("RETURN 0;", "RETURN\n  0;");
    expect(other).not.toBe(schema);
    expect(versionOf(other)).toBe(versionOf(schema));
    expect(versionOf(schema.replace("RETURN 0;", "RETURN 1;"))).not.toBe(versionOf(schema));
    // A comment at the end of a line would count.
    expect(schema).not.toMatch(/[^ \n] *--/);
  });

  it("postgresSchema knows only the schema", () => {
    expect(() => postgresSchema({ scheme: "a" } as never)).toThrow(/scheme/);
    expect(() => postgresSchema({ schema: "" })).toThrow(/schema/);
  });
});

describeWithPostgres(
  "the schema",
  (postgres) => {
    let pool: Pool;
    beforeAll(() => void (pool = postgres.pool({ max: 20 })));
    const open = (options: Partial<PostgresBrokerOptions> = {}) => {
      const broker = postgresBroker({ pool, ...options });
      onTestFinished(() => broker.close());
      return broker;
    };

    it("is asked for by everything, where it is not there", async () => {
      const broker = open({ schema: "nowhere" });
      const missing = unavailable(/"nowhere" is not there.*migrate\(\)/);
      await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(missing);
      await expect(broker.end("a")).rejects.toMatchObject(missing);
      await expect(broker.subscribe("a")).rejects.toMatchObject(missing);
      const client = await pool.connect();
      await expect(broker.publish("a", { data: 1 }, { client })).rejects.toMatchObject(missing);
      client.release();
    });

    it("is made by eight processes at once, whatever its name", async () => {
      const brokers = Array.from({ length: 8 }, () => open({ schema: `a "b' $sql$ \\ é`, pool: postgres.pool() }));
      await Promise.all(brokers.map((broker) => broker.migrate()));
      const reader = await read(brokers[0] as never, "a");
      await brokers[1]?.publish("a", { data: 1 });
      await reader.expectNext(1);
    });

    it("is made by the application's own migration, in its transaction", async () => {
      const client = await pool.connect();
      await client.query("BEGIN");
      await client.query(postgresSchema({ schema: "own" }));
      await client.query("ROLLBACK");
      await expect(open({ schema: "own" }).subscribe("a")).rejects.toMatchObject(unavailable(/migrate/));
      await client.query(postgresSchema({ schema: "own" }));
      await client.query(postgresSchema({ schema: "own" }));
      client.release();
      const broker = open({ schema: "own" });
      await broker.migrate();
      expect(await broker.publish("a", { data: 1 })).toMatch(/^[0-9a-f]+\.1-1$/);
    });

    it("is used by a role without DDL, and the missing permission is named", async () => {
      await open({ schema: "shared" }).migrate();
      await pool.query("CREATE ROLE app LOGIN");
      const broker = open({ schema: "shared", pool: postgres.pool({ user: "app" }) });
      await expect(broker.publish("a", { data: 1 })).rejects.toMatchObject(unavailable(/USAGE on the schema "shared"/));
      // What no other try could change is not tried again until the lease is over.
      const produced = broker.produce("a", () => [], { lease: 600_000 });
      await expect(produced).rejects.toMatchObject(unavailable(/USAGE on the schema "shared"/));
      await expect(broker.migrate()).rejects.toMatchObject(unavailable(/permission denied.*USAGE/));
      const maker = open({ schema: "not there", pool: postgres.pool({ user: "app" }) });
      await expect(maker.migrate()).rejects.toMatchObject(unavailable(/permission denied.*CREATE on the database/));
      await pool.query(
        `GRANT USAGE ON SCHEMA shared TO app; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA shared TO app`,
      );
      await broker.migrate();
      const reader = await read(broker, "a");
      const next = reader.expectNext(1, 2);
      await broker.publish("a", { data: 1 });
      const client = await postgres.pool({ user: "app" }).connect();
      await broker.publish("a", { data: 2 }, { client });
      client.release();
      await next;
    });

    it("does not mind the application's parsers and settings", async () => {
      const before = types.getTypeParser(25);
      for (const type of [16, 20, 25, 1009, 1184]) types.setTypeParser(type, () => "parsed");
      onTestFinished(() => types.setTypeParser(25, before));
      const strange =
        "-c standard_conforming_strings=off -c search_path=nowhere -c default_transaction_isolation=serializable";
      const broker = open({ schema: "parsers", pool: postgres.pool({ options: `${strange} -c bytea_output=escape` }) });
      await broker.migrate();
      const reader = await read(broker, "a\\'\0");
      const data = "\\' \0 \u2028 \\n \ud83d\ude00";
      await broker.publish("a\\'\0", { data });
      await reader.expectNext(data);
    });

    it("keeps out what it cannot hold without harm to what is published with it", async () => {
      await pool.query("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
      const broker = open({ pool: postgres.pool({ database: "latin" }) });
      await broker.migrate();
      const results = await Promise.allSettled(
        ["ä", "日本", "b"].map((channel) => broker.publish(channel, { data: 1 })),
      );
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    });

    it("forgets channels that nobody uses, and none that somebody is subscribed to", async () => {
      // A process that stands still for longer does not get what has been published meanwhile.
      const history = { maxAge: 1_500 };
      const broker = open({ schema: "idle", history });
      await broker.migrate();
      const other = open({ schema: "idle", history });
      const waiting = (await read(other, "watched")).expectNext(1, 2);
      const id = await broker.publish("watched", { data: 1 });
      await broker.publish("unwatched", { data: 1 });
      const names = async () =>
        (await pool.query("SELECT name FROM idle.channels ORDER BY 1")).rows.map(({ name }) => name);
      await expect.poll(names).toEqual(["watched"]);
      await sleep(1_500);
      expect((await pool.query("SELECT FROM idle.events")).rowCount).toBe(0);
      const next = await broker.publish("watched", { data: 2 });
      expect(next).toBe(id.replace(/1$/, "2"));
      await waiting;
    });

    it("holds nothing of a name that was only subscribed to", async () => {
      const broker = open({ schema: "names" });
      await broker.migrate();
      const reader = await read(broker, ["a", "b"]);
      const next = reader.next();
      await sleep(50);
      await reader.return();
      await next;
      for (const table of ["channels", "events", "pending"])
        expect((await pool.query(`SELECT FROM names.${table}`)).rowCount).toBe(0);
    });

    it("reads a few rows for each call, also by plans that are older than most channels", async () => {
      await open({ schema: "plans" }).migrate();
      const client = await pool.connect();
      onTestFinished(() => client.release());
      const calls = [
        `number('{a}', '{a}', '{"{}"}', 1000)`,
        "drain('{a}', 1000)",
        "drain(NULL, 1000)",
        "locate('{a}', 1000)",
        "read('{a}', '{1.1}', '{0}', 1000, true)",
        "touch('{a}', 1000)",
        "produce('claim', 'b', 'token', 0, NULL, 1000, 1000)",
      ];
      for (let times = 0; times < 10; times++) for (const call of calls) await client.query(`SELECT plans.${call}`);
      // Many at once make a session keep the plan that it has.
      for (let batch = 0; batch < 10; batch++) {
        const names = Array.from({ length: 500 }, (_, n) => `${batch}-${n}`).join(",");
        await client.query("SELECT plans.number($1, $1, $1, 1000)", [`{${names}}`]);
      }
      const rowsRead = async () => {
        const { rows } = await client.query<{ rows: number }>(
          `SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int AS rows
          FROM pg_stat_xact_user_tables WHERE schemaname = 'plans'`,
        );
        return rows[0]?.rows ?? 0;
      };
      for (const call of calls) {
        await client.query("BEGIN");
        const before = await rowsRead();
        await client.query(`SELECT plans.${call}`);
        expect((await rowsRead()) - before, call).toBeLessThan(30);
        await client.query("COMMIT");
      }
    });

    it("updates channels in their page, and holds no more events than it should", async () => {
      const broker = open({ schema: "hot", history: { maxEvents: 10 } });
      await broker.migrate();
      for (let n = 0; n < tooMany; n++) await broker.publish("a", { data: n });
      expect((await pool.query("SELECT FROM hot.events")).rowCount).toBeLessThanOrEqual(11);
      const hot = async () => {
        const { rows } = await pool.query(
          "SELECT n_tup_upd::int AS all, n_tup_hot_upd::int AS hot FROM pg_stat_user_tables WHERE schemaname = 'hot' AND relname = 'channels'",
        );
        const [{ all, hot }] = rows as [{ all: number; hot: number }];
        return all >= tooMany && hot === all;
      };
      await expect.poll(hot, { timeout: 15_000 }).toBe(true);
    });
  },
  ["fsync=off"],
);
