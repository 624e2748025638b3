import { postgresBroker, type PostgresBroker } from "express-event-source/postgres";
import type { Pool } from "pg";
import { expect, it, onTestFinished } from "vitest";
import { read } from "../broker/contract.js";
import { TcpProxy } from "../redis/tcp-proxy.js";
import { describeWithPostgres, type PostgresServer } from "./postgres-server.js";

describeWithPostgres("a failover", (postgres) => {
  async function replicaOf(primary: PostgresServer): Promise<PostgresServer> {
    const replica = await primary.replica();
    onTestFinished(() => replica.remove());
    return replica;
  }

  /** Resolves when the replica has everything that has been committed until now. */
  async function catchUp(primary: Pool, replica: Pool): Promise<void> {
    const { rows } = await primary.query<{ position: string }>("SELECT pg_current_wal_lsn()::text AS position");
    const isThere = "SELECT FROM (SELECT pg_last_wal_replay_lsn() AS p) AS replayed WHERE p >= $1::pg_lsn";
    while ((await replica.query(isThere, [rows[0]?.position])).rowCount === 0);
  }

  it("to a replica that lagged tells a gap where somebody had read what was lost, and nowhere else", async () => {
    const replica = await replicaOf(postgres);
    let port = postgres.port;
    const address = await new TcpProxy(() => [port]).listen();
    onTestFinished(() => address.close());
    const pool = postgres.pool({ port: address.port });
    const open = (): PostgresBroker => {
      const broker = postgresBroker({ pool, timeout: 1_000 });
      onTestFinished(() => broker.close());
      return broker;
    };
    const [broker, other] = [open(), open()];
    await broker.migrate();
    const ids = [await broker.publish("a", { data: 0 }), await broker.publish("a", { data: 1 })];
    await broker.publish("quiet", { data: 0 });
    const ahead = await read(broker, "a", { lastEventId: ids[1] });
    const behind = await read(broker, "a", { lastEventId: ids[0] });
    const elsewhere = await read(other, "a", { lastEventId: ids[0] });
    const quiet = await read(broker, "quiet", { from: "start" });
    await behind.expectNext(1);
    await elsewhere.expectNext(1);
    await quiet.expectNext(0);
    const [primaryPool, replicaPool] = [postgres.pool(), replica.pool()];
    await catchUp(primaryPool, replicaPool);
    await replicaPool.query("ALTER SYSTEM SET primary_conninfo = ''");
    await replicaPool.query("SELECT pg_reload_conf()");
    while ((await replicaPool.query("SELECT FROM pg_stat_wal_receiver")).rowCount !== 0);
    // Acknowledged, read, and lost.
    for (const data of [2, 3]) ids.push(await broker.publish("a", { data }));
    await ahead.expectNext(2, 3);
    await postgres.kill();
    port = replica.port;
    await replicaPool.query("SELECT pg_promote()");
    const publish = async (channel: string): Promise<string> => {
      for (;;) {
        const id = await broker.publish(channel, { data: "new" }).catch(() => undefined);
        if (id !== undefined) return id;
      }
    };
    // Another run: the number of a lost event names none of these.
    expect(await publish("a")).toBe(ids[2]?.replace(/\.1-3$/, ".2-3"));
    await publish("quiet");
    await ahead.expectNext("gap", "new");
    await behind.expectNext("new");
    await elsewhere.expectNext("new");
    await quiet.expectNext("new");
    const late = open();
    const since = (lastEventId: string | undefined) => read(late, "a", { lastEventId });
    await (await since(ids[3])).expectNext("gap", 0, 1, "new");
    await (await since(ids[2])).expectNext("gap", 0, 1, "new");
    await (await since(ids[1])).expectNext("new");
  });
});
