import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import { Client, type ClientConfig } from "pg";
import { expect, it, onTestFinished } from "vitest";
import { produceContract } from "../broker/contract-produce.js";
import { Reader } from "../broker/reader.js";
import { until } from "../support/stage.js";
import { keyOf } from "../../src/postgres/tail-index.js";
import { TcpProxy } from "../redis/tcp-proxy.js";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres(
  "producers",
  (postgres) => {
    let brokers = 0;
    const open = async (history?: HistoryOptions, options: Partial<PostgresBrokerOptions> = {}) => {
      const broker = postgresBroker({ pool: postgres.pool(), schema: `produce ${brokers++}`, history, ...options });
      await broker.migrate();
      return broker;
    };

    const share = async (history?: HistoryOptions) => {
      const network = new TcpProxy(() => [postgres.port]);
      await network.listen();
      const schema = `shared ${brokers++}`;
      const other = await open(history, { schema });
      const producing = await open(history, { schema, pool: postgres.pool({ port: network.port }), timeout: 300 });
      return {
        schema,
        producing,
        other,
        cut: () => network.cut(),
        deafen: () => network.deafen(),
        restore() {
          // What was swallowed is not made good on the same connection.
          network.cut();
          network.mend();
        },
        async forget(channel: string) {
          const gone = `DELETE FROM "${schema}".channels WHERE name = $1 RETURNING id`;
          await postgres
            .pool()
            .query(`WITH gone AS (${gone}) DELETE FROM "${schema}".events WHERE channel IN (SELECT id FROM gone)`, [
              channel,
            ]);
        },
      };
    };

    produceContract("postgresBroker", {
      open,
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      share,
    });

    it.each([
      ["the channel", 'DELETE FROM "?".channels', ["gap", "lost"]],
      ["the claim", 'UPDATE "?".channels SET producer = NULL, production = NULL', ["lost"]],
    ])("are lost where a restore has undone %s and their process is gone", async (_what, restore, told) => {
      // Often checked.
      const { schema, producing, other, cut } = await share({ maxAge: 2_000 });
      onTestFinished(async () => void (await Promise.all([producing.close(), other.close()])));
      const run = await producing.produce("a", async function* ({ signal }) {
        yield { data: 1 };
        await once(signal, "abort");
      });
      const reader = new Reader(await other.subscribe("a", { from: "start" }));
      await reader.expectNext(1);
      cut();
      await postgres.pool().query(restore.replace("?", schema));
      expect((await reader.rest()).map(({ event }) => event)).toEqual(told);
      await producing.close();
      expect(await run?.done).toBe("lost");
    });

    it("hear of a stop that came while the answer to their claim was under way", async () => {
      const heard: string[] = [];
      const isStopHeard = (): boolean => heard.filter((payload) => payload.includes(keyOf("late"))).length === 2;
      class SlowClient extends Client {
        constructor(config?: ClientConfig) {
          super(config);
          this.on("notification", ({ payload = "" }) => void heard.push(payload));
          const query = this.query.bind(this) as (config: { text: string }) => Promise<unknown>;
          const answer = async (config: { text: string }): Promise<unknown> => {
            const rows = await query(config);
            if (/'claim'.*'late'/.test(config.text)) await until(isStopHeard);
            return rows;
          };
          Object.assign(this, { query: answer });
        }
      }
      const schema = `slow ${brokers++}`;
      const other = await open(undefined, { schema });
      const producing = await open(undefined, { schema, pool: Object.assign(postgres.pool(), { Client: SlowClient }) });
      for (const broker of [other, producing]) onTestFinished(() => broker.close());
      const produce = (channel: string) =>
        producing.produce(channel, ({ signal }) => once(signal, "abort") as Promise<never>, { lease: 600_000 });
      await produce("running");
      await until(() => heard.length > 0);
      const claiming = produce("late");
      while (!(await other.stop("late")));
      const run = await claiming;
      expect(await run?.done).toBe("stopped");
    });

    it("are not ended by a transaction of somebody else's", async () => {
      const broker = await open();
      onTestFinished(() => broker.close());
      const run = await broker.produce("a", ({ signal }) => once(signal, "abort") as Promise<never>);
      const client = await postgres.pool().connect();
      await client.query("BEGIN");
      await expect(broker.end("a", { client })).rejects.toMatchObject({ code: "ERR_CHANNEL_PRODUCED" });
      await client.query("COMMIT");
      client.release();
      expect(await broker.stop("a")).toBe(true);
      expect(await run?.done).toBe("stopped");
    });
  },
  ["fsync=off"],
);
