import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync, chownSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { postgresBroker, type PostgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import { Client, type Pool } from "pg";
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from "vitest";
import { read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { freePort } from "../redis/redis-server.js";
import { describeWith } from "../support/installed.js";
import { until } from "../support/stage.js";
import { announced } from "./announced.js";
import { describeWithPostgres, unprivileged } from "./postgres-server.js";

/** All that one subscription ever got. */
async function collect(broker: PostgresBroker, channel: string): Promise<unknown[]> {
  const seen: unknown[] = [];
  const subscription = await broker.subscribe(channel);
  void (async () => {
    for await (const event of subscription) seen.push(...dataOf([event]));
  })();
  return seen;
}

describeWithPostgres("Postgres that fails", (postgres) => {
  let pool: Pool;
  let admin: Pool;
  let number = 0;
  let stored: number[] = [];
  let rejected: number[] = [];
  let event = 0;
  beforeAll(async () => {
    admin = postgres.pool();
    pool = postgres.pool({ application_name: "broker" });
    const broker = postgresBroker({ pool });
    await broker.migrate();
    await broker.close();
  });
  beforeEach(() => {
    number++;
    stored = [];
    rejected = [];
  });

  const open = (options: Partial<PostgresBrokerOptions> = {}) => {
    const broker = postgresBroker({ pool, timeout: 1_000, ...options });
    onTestFinished(() => broker.close());
    return broker;
  };

  async function publish(broker: PostgresBroker, count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      const data = event++;
      await broker.publish(`channel ${number}`, { data }).then(
        () => stored.push(data),
        (error: unknown) => {
          expect(error).toMatchObject({ code: "ERR_BROKER_UNAVAILABLE" });
          rejected.push(data);
        },
      );
    }
  }

  /** Everyone has everything that was acknowledged, in order, nothing twice, and no gap. */
  async function expectEverything(all: unknown[][]): Promise<void> {
    const last = stored.at(-1);
    await until(() => all.every((seen) => seen.includes(last)));
    const maybe = new Set<unknown>(rejected);
    for (const seen of all) {
      expect(seen.filter((one) => !maybe.has(one))).toEqual(stored);
      expect(seen).toEqual([...new Set(seen as number[])].sort((a, b) => a - b));
    }
  }

  const subscribers = (brokers: PostgresBroker[]) =>
    Promise.all(brokers.map((broker) => collect(broker, `channel ${number}`)));

  it("loses nothing where the postmaster is killed and started again, and rejects in the meantime", async () => {
    const brokers = [open(), open()] as const;
    const all = await subscribers([...brokers]);
    await publish(brokers[0], 20);
    await postgres.kill();
    await publish(brokers[0], 2);
    expect(rejected).toHaveLength(2);
    await postgres.start();
    for (const before = stored.length; stored.length === before;) await publish(brokers[0], 1);
    await publish(brokers[1], 20);
    await expectEverything(all);
  });

  it("loses nothing where connections are terminated, those that listen too", async () => {
    const brokers = [open(), open()] as const;
    const all = await subscribers([...brokers]);
    for (let round = 0; round < 5; round++) {
      const publishing = publish(brokers[0], 40);
      await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broker'");
      await publishing;
    }
    await publish(brokers[0], 1);
    await expectEverything(all);
  });

  it("loses nothing where one backend is killed, which has the server restart", async () => {
    const brokers = [open(), open()] as const;
    const all = await subscribers([...brokers]);
    await publish(brokers[0], 20);
    const { rows } = await admin.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'broker' LIMIT 1");
    process.kill((rows as [{ pid: number }])[0].pid, "SIGKILL");
    await publish(brokers[0], 20);
    for (const before = stored.length; stored.length === before;) await publish(brokers[0], 1);
    await expectEverything(all);
  });

  it("rejects in time where the pool is exhausted, and never does later what it rejected; subscriptions go on", async () => {
    const small = postgres.pool({ max: 1 });
    const broker = open({ pool: small, timeout: 300 });
    const other = open();
    const seen = await collect(broker, `channel ${number}`);
    await publish(other, 1);
    await until(() => seen.length === 1);
    const taken = await small.connect();
    const begun = performance.now();
    await publish(broker, 2);
    expect(performance.now() - begun).toBeLessThan(5_000);
    expect(rejected).toHaveLength(2);
    await publish(other, 1);
    await until(() => seen.length === 2);
    taken.release();
    await publish(broker, 1);
    await until(() => seen.length === 3);
    expect(seen).toEqual(stored);
  });

  it("begins to listen where the pool is exhausted from the beginning", async () => {
    const small = postgres.pool({ max: 1 });
    const broker = open({ pool: small, timeout: 300, pollInterval: 600_000 });
    const seen = await collect(broker, `channel ${number}`);
    const taken = await small.connect();
    const other = open();
    await publish(other, 1);
    await until(() => seen.length === 1);
    taken.release();
    await publish(other, 1);
    await until(() => seen.length === 2);
    expect(seen).toEqual(stored);
  });

  it("cancels what is locked out, so that it is not done when the lock is gone", async () => {
    const broker = open({ timeout: 300 });
    await publish(broker, 1);
    const locker = await admin.connect();
    await locker.query("BEGIN");
    await locker.query("SELECT FROM event_source.channels FOR UPDATE");
    await publish(broker, 1);
    expect(rejected).toHaveLength(1);
    await locker.query("COMMIT");
    locker.release();
    await sleep(100);
    const { rows } = await admin.query("SELECT last::int FROM event_source.channels WHERE name = $1", [
      `channel ${number}`,
    ]);
    expect(rows).toEqual([{ last: 1 }]);
  });

  it("tells a gap where somebody had read what a failover lost, and nowhere else", async () => {
    const broker = open();
    const channel = `channel ${number}`;
    const ids: string[] = [];
    for (let n = 0; n < 4; n++) ids.push(await broker.publish(channel, { data: n }));
    const ahead = await read(broker, channel, { lastEventId: ids[1] });
    const behind = await read(broker, channel, { lastEventId: ids[0] });
    await ahead.expectNext(2, 3);
    await behind.expectNext(1);
    // As a replica that lagged has it after its promotion: the last two events are gone, and the timeline is another one.
    await admin.query("UPDATE event_source.channels SET last = 2 WHERE name = $1", [channel]);
    const timeline =
      "CREATE OR REPLACE FUNCTION event_source.timeline() RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint'";
    await admin.query(timeline);
    await admin.query(
      "DELETE FROM event_source.events USING event_source.channels c WHERE channel = c.id AND c.name = $1 AND n > 2",
      [channel],
    );
    await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'broker'");
    let next: string | undefined;
    while (next === undefined) next = await broker.publish(channel, { data: "new" }).catch(() => undefined);
    expect(next).toMatch(/-3$/);
    expect(next).not.toBe(ids[2]);
    await ahead.expectNext("gap", "new");
    await behind.expectNext("new");
    // Ids tell the same to a process that had read nothing.
    const late = open();
    await (await read(late, channel, { lastEventId: ids[2] })).expectNext("gap", 0, 1, "new");
    await (await read(late, channel, { lastEventId: ids[1] })).expectNext("new");
  });

  it("reads a channel once for each event and process, whatever the number of subscribers, on one connection", async () => {
    const [publisher, subscriber] = [open(), open({ pool: postgres.pool({ application_name: "crowd", max: 1 }) })];
    const channel = `channel ${number}`;
    const readers = await Promise.all(Array.from({ length: 1_000 }, () => read(subscriber, channel)));
    const first = readers.map((reader) => reader.take(1));
    await publisher.publish(channel, { data: 0 });
    await Promise.all(first);
    let reads = 0;

    const { query } = Client.prototype;
    Client.prototype.query = function (this: Client, ...args: unknown[]): never {
      if (String((args[0] as { text?: string }).text).includes(".read(")) reads++;
      return query.apply(this, args as never) as never;
    };
    onTestFinished(() => void (Client.prototype.query = query));
    for (let n = 1; n <= 5; n++) {
      const next = readers.map((reader) => reader.take(1));
      await publisher.publish(channel, { data: n });
      for (const events of await Promise.all(next)) expect(dataOf(events)).toEqual([n]);
    }
    expect(reads).toBeLessThanOrEqual(7);
    const { rows } = await admin.query(
      "SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = 'crowd'",
    );
    expect((rows as [{ count: number }])[0].count).toBeLessThanOrEqual(2);
  });

  describeWith("pgbouncer", "behind PgBouncer in transaction mode", () => {
    let bouncer: ChildProcess;
    let directory = "";
    let port = 0;
    beforeAll(async () => {
      port = await freePort();
      directory = mkdtempSync(join(tmpdir(), "pgbouncer-test-"));
      const identity = unprivileged();
      if (identity.uid !== undefined) chownSync(directory, identity.uid, identity.gid as number);
      writeFileSync(join(directory, "users"), '"postgres" "secret"\n');
      writeFileSync(
        join(directory, "ini"),
        `[databases]\npostgres = host=127.0.0.1 port=${postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\n` +
          `auth_type = trust\nauth_file = ${join(directory, "users")}\npool_mode = transaction\nunix_socket_dir =\n`,
      );
      const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin` };
      bouncer = spawn("pgbouncer", [join(directory, "ini")], { ...identity, env, stdio: "ignore" });
      const answers = async (): Promise<boolean> => {
        const client = new Client({ ...postgres.config, port });
        return client.connect().then(
          () => client.end().then(() => true),
          () => false,
        );
      };
      while (!(await answers())) await sleep(20);
    });
    afterAll(() => {
      bouncer.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    });

    it("hears at once on a connection around it", async () => {
      const way = { pool: postgres.pool({ port }), listen: { connectionString: postgres.url }, pollInterval: 600_000 };
      const [broker, other] = [open(way), open(way)];
      const all = await subscribers([broker, other]);
      await publish(broker, 1);
      await until(() => all.every((seen) => seen.length === 1));
      await publish(other, 50);
      const client = await way.pool.connect();
      await client.query("BEGIN");
      await broker.publish(`channel ${number}`, { data: event }, { client });
      await client.query("COMMIT");
      client.release();
      stored.push(event++);
      await expectEverything(all);
    });

    it("says once that LISTEN through PgBouncer hears nothing, and polls", async () => {
      const errors = announced();
      const options = { pool: postgres.pool({ port }), pollInterval: 100 };
      const [broker, other] = [open(options), open(options)];
      const all = await subscribers([broker, other]);
      await publish(broker, 20);
      await until(() => errors.length === 2);
      await publish(other, 20);
      await expectEverything(all);
      // The second attempt of each comes a moment after the first.
      await sleep(1_500);
      const remedy = expect.stringMatching(/no notification arrives.*PgBouncer.*listen: \{ connectionString \}/);
      const said = { error: { code: "ERR_INVALID_OPTION", field: "listen", message: remedy } };
      expect(errors).toMatchObject([said, said]);
      // What the process publishes itself does not wait for the next poll.
      const slow = open({ ...options, pollInterval: 600_000 });
      const [seen] = await subscribers([slow]);
      await until(() => errors.length === 3);
      stored = [];
      await publish(slow, 5);
      await until(() => seen?.length === 5);
      expect(seen).toEqual(stored);
    });

    it("warns of that where nobody subscribes to the diagnostics channel", async () => {
      const warnings: Error[] = [];
      const warned = (warning: Error): void => void warnings.push(warning);
      process.on("warning", warned);
      onTestFinished(() => void process.off("warning", warned));
      const [seen] = await subscribers([open({ pool: postgres.pool({ port }), pollInterval: 100 })]);
      await until(() => warnings.length > 0);
      expect(warnings).toMatchObject([{ code: "ERR_INVALID_OPTION", field: "listen" }]);
      await publish(open(), 1);
      await until(() => seen?.length === 1);
    });

    it("polls where it does not listen", async () => {
      const way = { pool: postgres.pool({ port }), listen: false, pollInterval: 100 };
      const [broker, other] = [open(way), open(way)];
      const all = await subscribers([broker, other]);
      await publish(broker, 50);
      await expectEverything(all);
    });
  });
});
