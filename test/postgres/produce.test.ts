import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
import { expect, it, onTestFinished } from "vitest";
import { produceContract } from "../broker/contract-produce.js";
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

    produceContract("postgresBroker", {
      open,
      pass: async (milliseconds) => void (await sleep(milliseconds)),
      share: async (history) => {
        const network = new TcpProxy(() => [postgres.port]);
        await network.listen();
        const schema = `shared ${brokers++}`;
        const other = await open(history, { schema });
        const producing = await open(history, { schema, pool: postgres.pool({ port: network.port }), timeout: 300 });
        return {
          producing,
          other,
          cut: () => network.cut(),
          deafen: () => network.deafen(),
          restore() {
            // What was swallowed is not made good on the same connection.
            network.cut();
            network.mend();
          },
          async forget(channel) {
            const gone = `DELETE FROM "${schema}".channels WHERE name = $1 RETURNING id`;
            await postgres
              .pool()
              .query(`WITH gone AS (${gone}) DELETE FROM "${schema}".events WHERE channel IN (SELECT id FROM gone)`, [
                channel,
              ]);
          },
        };
      },
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
