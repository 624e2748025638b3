// What postgresBroker costs: publish to receive with many channels, publishes a second, queries for many subscribers.
//
//     npm run build && DATABASE_URL=postgres://… node test/bench/postgres.js
//
// The database should be one of its own: the schema "bench" is dropped before and after.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { postgresBroker } from "../../dist/postgres.js";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });

const schema = "bench";
const percentile = (values, share) => values.toSorted((a, b) => a - b)[Math.floor(values.length * share)];
const report = (what, value) => console.log(`${what.padEnd(60)} ${value}`);

await pool.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
const open = () => postgresBroker({ pool, schema, history: { maxEvents: 1000 } });
const [publisher, subscriber] = [open(), open()];
await publisher.migrate();

/** From `publish` to the subscriber of another broker, `rounds` times, with so many channels subscribed to. */
async function latency(channels, rounds) {
  const names = Array.from({ length: channels }, (_, n) => `latency ${channels} ${n}`);
  await Promise.all(names.map((name) => publisher.publish(name, { data: 0 })));
  const arrivals = new Map();
  const controller = new AbortController();
  for (const subscription of await Promise.all(
    names.map((name) => subscriber.subscribe(name, { signal: controller.signal })),
  )) {
    void (async () => {
      for await (const { data } of subscription) arrivals.get(data)?.();
    })();
  }
  await sleep(1_000);
  const times = [];
  for (let n = 1; n <= rounds; n++) {
    const begun = performance.now();
    const arrived = new Promise((resolve) => arrivals.set(n, resolve));
    await publisher.publish(names[n % channels], { data: n });
    await arrived;
    times.push(performance.now() - begun);
    arrivals.delete(n);
    await sleep(2);
  }
  controller.abort();
  report(
    `publish to receive, ${channels} channels: p50, p99`,
    `${percentile(times, 0.5).toFixed(2)} ms, ${percentile(times, 0.99).toFixed(2)} ms`,
  );
}

/** Publishes a second, so many at once, in turn to `channels` channels. */
async function throughput(what, atOnce, milliseconds, publish) {
  let count = 0;
  const end = performance.now() + milliseconds;
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async (_, worker) => {
      for (; performance.now() < end; count++) await publish(worker, count);
    }),
  );
  report(`${what}, ${atOnce} at once`, `${Math.round(count / ((performance.now() - begun) / 1000))} a second`);
}

for (const channels of [10, 100, 1_000, 10_000]) await latency(channels, 200);

const data = { text: "x".repeat(60) };
for (const atOnce of [1, 32, 500]) {
  await throughput("direct publishes to one channel", atOnce, 2_000, () => publisher.publish("one", { data }));
  await throughput("direct publishes to 50 channels", atOnce, 2_000, (_, n) =>
    publisher.publish(`many ${n % 50}`, { data }),
  );
}
for (const atOnce of [1, 16]) {
  await throughput("transactions that publish one event", atOnce, 2_000, async (worker) => {
    const client = await pool.connect();
    try {
      await client.query("BEGIN");
      await publisher.publish(`outbox ${worker}`, { data }, { client });
      await client.query("COMMIT");
    } finally {
      client.release();
    }
  });
}

{
  const calls = async () =>
    Number(
      (
        await pool.query(
          "SELECT sum(calls) AS calls FROM pg_stat_user_functions WHERE funcname = 'read' AND schemaname = $1",
          [schema],
        )
      ).rows[0].calls,
    );
  await pool.query("SET track_functions = 'all'").catch(() => {});
  const controller = new AbortController();
  const subscriptions = await Promise.all(
    Array.from({ length: 10_000 }, () => subscriber.subscribe("crowd", { signal: controller.signal })),
  );
  let received = 0;
  for (const subscription of subscriptions)
    void (async () => {
      for await (const _event of subscription) received++;
    })();
  await sleep(500);
  const before = await calls();
  for (let n = 0; n < 10; n++) await publisher.publish("crowd", { data: n });
  while (received < 100_000) await sleep(10);
  await sleep(1_500);
  report("reads for 10 events to 10,000 subscribers of one channel", String((await calls()) - before));
  const { rows } = await pool.query(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%LISTEN%' OR query LIKE '%.read(%'",
  );
  report("connections of the two brokers' own", rows[0].count);
  controller.abort();
}

{
  let done = 0;
  await Promise.all(
    Array.from({ length: 500 }, async () => {
      while (done < 400_000) {
        done++;
        await publisher.publish("bloat", { data });
      }
    }),
  );
  await sleep(1_500);
  const { rows } = await pool.query(
    "SELECT relname, n_live_tup, n_dead_tup, n_tup_upd, n_tup_hot_upd, pg_total_relation_size(relid) / 1024 AS kb FROM pg_stat_user_tables WHERE schemaname = $1 ORDER BY 1",
    [schema],
  );
  for (const row of rows)
    report(
      `after 400,000 events: ${row.relname}`,
      `${row.n_live_tup} live, ${row.n_dead_tup} dead, ${row.n_tup_hot_upd} of ${row.n_tup_upd} updates HOT, ${row.kb} kB`,
    );
}

await Promise.all([publisher.close(), subscriber.close()]);
await pool.query(`DROP SCHEMA ${schema} CASCADE`);
await pool.end();
