import { redisBroker } from "express-event-source/redis";
import { createClient } from "redis";
import { produceWords } from "../broker/producer-process.js";

const client = createClient({ url: process.env["REDIS_URL"] as string });
client.on("error", () => {});
await client.connect();
const broker = redisBroker({ client, prefix: "process:", timeout: 300 });
await produceWords(broker);
client.destroy();
await broker.close();
