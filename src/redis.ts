export type { RedisClient } from "./redis/client-kinds.js";
export type { RedisBrokerOptions } from "./redis/options.js";
export { redisBroker } from "./redis/redis-broker.js";
// What a broker's methods take and give, again: a project that uses this entry alone can then export a broker.
export type {
  Broker,
  HistoryOptions,
  ProduceOptions,
  Producer,
  Production,
  ProductionOutcome,
  PublishedEvent,
  SubscribeOptions,
} from "./broker/broker.js";
export type { PublishableEvent } from "./format/compile-time-checks.js";
export type { ServerSentEvent } from "./format/event.js";
