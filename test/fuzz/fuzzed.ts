import { memory } from "./brokers/memory.js";
import { postgres, redis } from "./brokers/stores.js";
import type { Fuzzed } from "./fuzz.js";
import { streams } from "./streams/check.js";

/** Everything that `npm run fuzz` runs. */
export const fuzzed: readonly Fuzzed<unknown>[] = [
  streams as Fuzzed<unknown>,
  memory as Fuzzed<unknown>,
  redis as Fuzzed<unknown>,
  postgres as Fuzzed<unknown>,
];
