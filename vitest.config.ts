import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const source = (file: string) => fileURLToPath(new URL(`./src/${file}`, import.meta.url));

/** The longest files, so that none of them begins when the others are done. Vitest knows how long each took, but not in a fresh checkout. */
const slowest = [
  "demo/chromium",
  "redis/redis-broker",
  "postgres/postgres-broker",
  "response/compression",
  "proxies/proxies",
  "readme",
  "guides",
  "types/typings",
  "redis/produce",
  "postgres/produce",
  "consumers/browsers",
];

class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = slowest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return index === -1 ? slowest.length : index;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^express-event-source\/postgres$/, replacement: source("postgres.ts") },
      { find: /^express-event-source\/redis$/, replacement: source("redis.ts") },
      { find: /^express-event-source$/, replacement: source("index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    sequence: { sequencer: SlowestFirst },
    exclude: ["test/bench/**", "test/redis/topologies/**", "**/node_modules/**"],
    // Most tests wait for sockets: two at a time even where there are two cores.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // A bound against hanging, not a measure: machines are shared.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    dangerouslyIgnoreUnhandledErrors: false,
    coverage: {
      provider: "v8",
      include: ["src/**"],
      reporter: ["text", "json-summary"],
    },
  },
});
