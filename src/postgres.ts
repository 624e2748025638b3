export { postgresBroker, type PostgresBroker, type TransactionOptions } from "./postgres/postgres-broker.js";
export type { PostgresBrokerOptions } from "./postgres/options.js";
export { postgresSchema } from "./postgres/schema.js";
