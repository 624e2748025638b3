import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryOptions } from "express-event-source";
import { postgresBroker, type PostgresBrokerOptions } from "express-event-source/postgres";
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
        return { producing, other, cut: () => network.cut(), restore: () => network.mend() };
      },
    });
  },
  ["fsync=off"],
);
