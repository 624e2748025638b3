export { redisBroker, type RedisBrokerOptions } from "./redis/redis-broker.js";
