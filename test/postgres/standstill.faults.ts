import { postgresBroker } from "express-event-source/postgres";
import { beforeAll, expect, it, onTestFinished, vi } from "vitest";
import type { Pool } from "pg";
import { until } from "../support/stage.js";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres(
  "Postgres that stands still",
  (postgres) => {
    let admin: Pool;
    beforeAll(async () => {
      admin = postgres.pool();
      const broker = postgresBroker({ pool: admin });
      await broker.migrate();
      await broker.close();
    });

    const numbers = async (sql: string, values: unknown[]): Promise<number[]> =>
      (await admin.query<{ number: number }>(sql, values)).rows.map(({ number }) => number);
    const backendsOf = (name: string) =>
      numbers("SELECT pid AS number FROM pg_stat_activity WHERE application_name = $1", [name]);
    const lastOf = (channel: string) =>
      numbers("SELECT last::int AS number FROM event_source.channels WHERE name = $1", [channel]);

    /** Stops the postmaster and these backends; what is sent to them waits in their sockets. */
    function stop(backends: readonly number[]): () => void {
      const pids = [postgres.pid, ...backends];
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      let isStopped = true;
      const resume = (): void => {
        if (isStopped) for (const pid of pids) process.kill(pid, "SIGCONT");
        isStopped = false;
      };
      onTestFinished(resume);
      return resume;
    }

    it.each(["a broker that has published before", "one that has only connected"])(
      "does not do later what it rejected in the meantime: %s",
      async (kind) => {
        const pool = postgres.pool({ application_name: kind });
        const broker = postgresBroker({ pool, timeout: 300, listen: false });
        const before = kind.startsWith("a broker") ? 1 : 0;
        if (before === 1) await broker.publish(kind, { data: "before" });
        else await pool.query("SELECT 1");
        // Its sweep has a connection too; from now on nobody needs one.
        await until(() => pool.idleCount === pool.totalCount);
        const backends = await backendsOf(kind);
        const resume = stop(backends);
        const publishes = Array.from({ length: 5 }, (_, n) => broker.publish(kind, { data: n }));
        for (const result of await Promise.allSettled([...publishes, broker.end(kind)]))
          expect(result).toMatchObject({ reason: { code: "ERR_BROKER_UNAVAILABLE" } });
        await broker.close();
        resume();
        await pool.end();
        // Each has read what waited in its socket, and found it closed.
        for (;;) {
          const left = await backendsOf(kind);
          if (!left.some((pid) => backends.includes(pid))) break;
        }
        expect(await lastOf(kind)).toEqual(before === 1 ? [1] : []);
        const again = postgresBroker({ pool: admin, listen: false });
        onTestFinished(() => again.close());
        expect(await again.publish(kind, { data: "after" })).toMatch(new RegExp(`-${before + 1}$`));
      },
    );

    it("does not do later what it rejected while another transaction kept it from committing", async () => {
      const pool = postgres.pool({ application_name: "notifier" });
      const broker = postgresBroker({ pool, timeout: 300, listen: false });
      onTestFinished(() => broker.close());
      await broker.publish("kept", { data: "before" });
      // It notifies, and its commit waits for a replica that is not there. Until then no other can notify.
      const client = await postgres.pool({ options: "-c synchronous_commit=on" }).connect();
      const [pid] = (await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")).rows.map(({ pid }) => pid);
      const commit = client.query(`SELECT event_source.publish('another', '{ "data": 1 }')`);
      const waiting = "SELECT pid AS number FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
      await vi.waitFor(async () => expect(await numbers(waiting, [])).toEqual([pid]), 20_000);
      await expect(broker.publish("kept", { data: "rejected" })).rejects.toMatchObject({
        code: "ERR_BROKER_UNAVAILABLE",
      });
      await admin.query("SELECT pg_cancel_backend($1)", [pid]);
      await commit;
      client.release();
      const busy = "SELECT pid AS number FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'";
      await vi.waitFor(async () => expect(await numbers(busy, ["notifier"])).toEqual([]), 20_000);
      expect(await lastOf("kept")).toEqual([1]);
    });
  },
  ["synchronous_standby_names=nobody", "synchronous_commit=local"],
);
