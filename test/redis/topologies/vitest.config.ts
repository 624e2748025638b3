import { mergeConfig } from "vitest/config";
import config from "../../../vitest.config.js";

// What takes minutes: a Redis Cluster and Sentinel, and what happens when a master dies.
const { test, ...rest } = config;
export default mergeConfig(rest, {
  test: { ...test, include: ["test/redis/topologies/**/*.test.ts"], exclude: [], maxWorkers: 1, hookTimeout: 120_000 },
});
