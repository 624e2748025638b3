// What postgresBroker costs:
//
//     npm run build && node test/bench/postgres.js [latency] [throughput] [transactions] [crowd] [idle] [bloat] [order]
//
// It starts a server of its own, with the settings that PostgreSQL comes with; DATABASE_URL names another one, in which the
// schema "bench" is dropped before and after.
import { setMaxListeners } from "node:events";
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { postgresBroker } from "../../dist/postgres.js";

const percentile = (values, share) => values.toSorted((a, b) => a - b)[Math.floor(values.length * share)];
const report = (what, ...figures) => console.log(what.padEnd(60), ...figures);
const milliseconds = (values) =>
  `p50 ${percentile(values, 0.5).toFixed(2)} ms, p99 ${percentile(values, 0.99).toFixed(2)} ms`;
const data = { text: "x".repeat(60) };
const schema = "bench";

const server = process.env.DATABASE_URL === undefined ? await startServer() : undefined;
const url = process.env.DATABASE_URL ?? server.url;
const pool = new pg.Pool({ connectionString: url, max: 20 });
// What Postgres says to idle clients when it goes.
pool.on("error", () => {});

/** How often this process has called each function of the schema, all brokers together. */
let calls = {};
const { query } = pg.Client.prototype;
pg.Client.prototype.query = function (...args) {
  for (const [, name] of String(args[0]?.text ?? "").matchAll(/"bench"\.(\w+)\(/g))
    calls[name] = (calls[name] ?? 0) + 1;
  return query.apply(this, args);
};
const inAll = () => Object.values(calls).reduce((sum, count) => sum + count, 0);

async function startServer() {
  const bin = ["18", "17", "16", "15", "14", "13"].map((v) => `/usr/lib/postgresql/${v}/bin`).find(existsSync);
  if (bin === undefined) throw new Error("No PostgreSQL in /usr/lib/postgresql: give DATABASE_URL.");
  const directory = mkdtempSync(join(tmpdir(), "postgres-bench-"));
  const options = { cwd: directory, stdio: "ignore" };
  // It refuses to run as root.
  if (process.getuid() === 0) {
    const [, , uid, gid] = readFileSync("/etc/passwd", "utf8")
      .match(/^postgres:.*$/m)[0]
      .split(":")
      .map(Number);
    Object.assign(options, { uid, gid });
    chownSync(directory, uid, gid);
  }
  const place = join(directory, "data");
  execFileSync(
    join(bin, "initdb"),
    ["-D", place, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
    options,
  );
  const port = Number(process.env.PORT ?? 35_432);
  const settings = ["-c", `unix_socket_directories=${directory}`, "-c", "listen_addresses=127.0.0.1"];
  const child = spawn(join(bin, "postgres"), ["-D", place, "-p", String(port), ...settings], options);
  const address = `postgres://postgres@127.0.0.1:${port}/postgres`;
  for (let isReady = false; !isReady; await sleep(50)) {
    const client = new pg.Client(address);
    isReady = await client.connect().then(
      () => true,
      () => false,
    );
    await client.end().catch(() => {});
  }
  return {
    url: address,
    async stop() {
      const exit = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGINT");
      await exit;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const open = (options = {}) => postgresBroker({ pool, schema, ...options });

/** Calls `onEvent` with what the subscriptions get, until the function that it resolves with is called. */
async function follow(broker, channels, onEvent) {
  const controller = new AbortController();
  const { signal } = controller;
  setMaxListeners(0, signal);
  for (const subscription of await Promise.all(channels.map((channel) => broker.subscribe(channel, { signal })))) {
    void (async () => {
      for await (const event of subscription) onEvent(event);
    })();
  }
  return () => controller.abort();
}

/** Publishes a second, so many at once. */
async function rate(what, atOnce, publish, time = 2_000) {
  const end = performance.now() + time;
  const begun = performance.now();
  let count = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async (_, worker) => {
      while (performance.now() < end) await publish(worker, count++);
    }),
  );
  report(what, `${Math.round(count / ((performance.now() - begun) / 1000))} a second`);
}

const parts = {
  /** From `publish` in one broker to the subscriber of another, with so many channels subscribed to. */
  async latency() {
    const [publisher, subscriber] = [open(), open()];
    for (const count of [10, 100, 1_000, 10_000]) {
      const channels = Array.from({ length: count }, (_, n) => `latency ${count} ${n}`);
      await Promise.all(channels.map((channel) => publisher.publish(channel, { data: 0 })));
      let onArrival = () => {};
      const stop = await follow(subscriber, channels, () => onArrival());
      await sleep(1_000);
      const times = [];
      for (let n = 0; n < 300; n++) {
        const begun = performance.now();
        const arrived = new Promise((resolve) => (onArrival = resolve));
        await publisher.publish(channels[n % count], { data: n });
        await arrived;
        times.push(performance.now() - begun);
        await sleep(2);
      }
      stop();
      report(`publish to receive, ${count} channels`, milliseconds(times));
    }
    await Promise.all([publisher.close(), subscriber.close()]);
  },

  async throughput() {
    const broker = open();
    for (const atOnce of [1, 32, 500]) {
      await rate(`direct publishes to one channel, ${atOnce} at once`, atOnce, () => broker.publish("one", { data }));
      await rate(`direct publishes to 50 channels, ${atOnce} at once`, atOnce, (_, n) =>
        broker.publish(`many ${n % 50}`, { data }),
      );
    }
    await broker.close();
  },

  /** Beside the same transactions with an INSERT into a table of the application's own in place of the event. */
  async transactions() {
    const broker = open();
    await pool.query(`CREATE TABLE ${schema}.orders (id bigint GENERATED ALWAYS AS IDENTITY, item text)`);
    const inTransaction = async (work) => {
      const client = await pool.connect();
      await client.query("BEGIN");
      await work(client);
      await client.query("COMMIT");
      client.release();
    };
    for (const atOnce of [1, 16]) {
      await rate(`transactions that insert a row, ${atOnce} at once`, atOnce, () =>
        inTransaction((client) => client.query(`INSERT INTO ${schema}.orders (item) VALUES ($1)`, [data.text])),
      );
      await rate(`transactions that publish an event, ${atOnce} at once`, atOnce, (worker) =>
        inTransaction((client) => broker.publish(`outbox ${worker}`, { data }, { client })),
      );
    }
    await broker.close();
  },

  /** Ten events to 10,000 subscribers of one channel in one process. */
  async crowd() {
    const [publisher, subscriber] = [open(), open()];
    let received = 0;
    const stop = await follow(subscriber, Array(10_000).fill("crowd"), () => received++);
    await sleep(1_000);
    calls = {};
    for (let n = 1; n <= 10; n++) {
      await publisher.publish("crowd", { data: n });
      while (received < 10_000 * n) await sleep(1);
    }
    report("calls for 10 events to 10,000 subscribers of one channel", JSON.stringify(calls));
    const { rows } = await pool.query(
      "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%.read(%' AND pid <> pg_backend_pid()",
    );
    report("connections of the subscribing broker's own", rows[0].count);
    stop();
    await Promise.all([publisher.close(), subscriber.close()]);
  },

  /** What 10,000 subscribers cost the database while nothing happens. */
  async idle() {
    for (const [what, channel] of [
      ["one channel", () => "idle"],
      ["10,000 channels", (n) => `idle ${n}`],
    ]) {
      const broker = open();
      await Promise.all(Array.from({ length: 10_000 }, (_, n) => broker.publish(channel(n), { data })));
      const stop = await follow(
        broker,
        Array.from({ length: 10_000 }, (_, n) => channel(n)),
        () => {},
      );
      await sleep(2_000);
      calls = {};
      const cpu = process.cpuUsage();
      await sleep(40_000);
      const { user, system } = process.cpuUsage(cpu);
      report(
        `10,000 idle subscribers of ${what}`,
        JSON.stringify(calls),
        `${(inAll() / 40).toFixed(2)} calls a second, ${((user + system) / 400_000).toFixed(2)} % of a core`,
      );
      stop();
      await broker.close();
    }
  },

  /** What is left in the tables after 400,000 events, most of them to one channel, before and after autovacuum, and again. */
  async bloat() {
    const broker = open();
    const tables = async (when) => {
      const { rows } = await pool.query(
        `SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd, autovacuum_count,
          pg_total_relation_size(relid) / 1024 AS kb
        FROM pg_stat_user_tables WHERE schemaname = $1 AND relname IN ('channels', 'events') ORDER BY 1`,
        [schema],
      );
      for (const row of rows) {
        const share = (100 * row.n_tup_hot_upd) / row.n_tup_upd;
        const hot = row.n_tup_upd === "0" ? "" : `, ${share.toFixed(1)} % of updates HOT`;
        report(`${when}: ${row.relname}`, `${row.n_live_tup} live, ${row.n_dead_tup} dead, ${row.kb} kB${hot}`);
      }
      return Number(rows.find(({ relname }) => relname === "events").autovacuum_count);
    };
    for (const round of ["400,000 events", "400,000 more"]) {
      let left = 400_000;
      const publish = async () => {
        while (left-- > 0) await broker.publish(left % 8 === 0 ? `bloat ${(left / 8) % 1_000}` : "bloat", { data });
      };
      await Promise.all(Array.from({ length: 500 }, publish));
      await sleep(2_000);
      const vacuums = await tables(`after ${round}`);
      const count = `SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'events' AND schemaname = $1`;
      while (Number((await pool.query(count, [schema])).rows[0].autovacuum_count) === vacuums) await sleep(1_000);
      await tables("… and autovacuum");
    }
    await broker.close();
  },

  /** Eight publishers, transactions that are held up to 10 ms, one in ten rolled back, two channels in opposite order. */
  async order() {
    const history = { maxEvents: 1_000_000 };
    const brokers = [open({ history }), open({ history })];
    const seen = [[], []];
    const stops = await Promise.all(
      brokers.map((broker, n) => follow(broker, ["x", "y"], (event) => seen[n].push(`${event.data}`))),
    );
    const committed = new Set();
    let [deadlocks, rolledBack] = [0, 0];
    const end = performance.now() + 20_000;
    await Promise.all(
      Array.from({ length: 8 }, async (_, name) => {
        for (let n = 0; performance.now() < end; n++) {
          const client = await pool.connect();
          try {
            await client.query("BEGIN");
            const channels = name % 2 === 0 ? ["x", "y"] : ["y", "x"];
            for (const channel of channels)
              await brokers[name % 2].publish(channel, { data: `${channel} ${name} ${n}` }, { client });
            await sleep(Math.random() * 10);
            const isRolledBack = Math.random() < 0.1;
            await client.query(isRolledBack ? "ROLLBACK" : "COMMIT");
            if (isRolledBack) rolledBack++;
            else for (const channel of channels) committed.add(`${channel} ${name} ${n}`);
          } catch (error) {
            if (error.code !== "40P01") throw error;
            deadlocks++;
            await client.query("ROLLBACK");
          }
          client.release();
        }
      }),
    );
    await sleep(2_000);
    for (const stop of stops) stop();
    const [first, second] = seen.map((all) =>
      ["x", "y"].map((channel) => all.filter((one) => one.startsWith(channel))),
    );
    report(
      "order: committed, rolled back, lost, twice, never committed, deadlocks",
      committed.size,
      2 * rolledBack,
      seen.map((all) => [...committed].filter((one) => !all.includes(one)).length).join("+"),
      seen.map((all) => all.length - new Set(all).size).join("+"),
      seen.map((all) => all.filter((one) => !committed.has(one)).length).join("+"),
      deadlocks,
    );
    report("… one order for both processes", String(JSON.stringify(first) === JSON.stringify(second)));
    await Promise.all(brokers.map((broker) => broker.close()));
  },
};

const asked = process.argv.slice(2);
try {
  await pool.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  const broker = open();
  await broker.migrate();
  await broker.close();
  for (const part of asked.length === 0 ? Object.keys(parts) : asked) await parts[part]();
  await pool.query(`DROP SCHEMA ${schema} CASCADE`);
} finally {
  await pool.end();
  await server?.stop();
}
