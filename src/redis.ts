export { redisBroker, type RedisBrokerOptions } from "./redis/redis-broker.js";
export type { RedisClient } from "./redis/client.js";
