export type { PGliteDatabase } from "./postgres/pglite.js";
export type { PostgresPool } from "./postgres/pool.js";
export { postgresBroker, type PostgresBroker, type TransactionOptions } from "./postgres/postgres-broker.js";
export type { PostgresBrokerOptions } from "./postgres/options.js";
export { postgresSchema } from "./postgres/schema.js";
export type { TransactionClient } from "./postgres/transaction.js";
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
