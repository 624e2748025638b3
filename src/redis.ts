export { type RedisBrokerOptions } from "./redis/options.js";
export { redisBroker } from "./redis/redis-broker.js";
