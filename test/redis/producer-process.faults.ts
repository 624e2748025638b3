import { processContract, startProducer } from "../broker/contract-process.js";
import { connected } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";

describeWithRedis("the process of a producer", (redis) => {
  const open = connected(redis);
  const file = new URL("producer-process.ts", import.meta.url);

  processContract(
    () => open({ prefix: "process:" }).broker,
    (channel) => startProducer(file, { REDIS_URL: redis.url }, channel),
  );
});
