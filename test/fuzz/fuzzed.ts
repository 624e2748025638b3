import { memory } from "./brokers/memory.js";
import type { Fuzzed } from "./fuzz.js";
import { streams } from "./streams/check.js";

/** Everything that `npm run fuzz` runs. */
export const fuzzed: readonly Fuzzed<unknown>[] = [streams as Fuzzed<unknown>, memory as Fuzzed<unknown>];
