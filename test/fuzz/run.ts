import { parseArgs } from "node:util";
import { type Failure, fuzz, type Fuzzed } from "./fuzz.js";
import { fuzzed } from "./fuzzed.js";
import { countAllTimers, watchResources } from "./resources.js";

/*
 * npm run fuzz                                     random programs, one minute of each kind
 * npm run fuzz -- --minutes 60 --only streams
 * npm run fuzz -- --seed 123 --only streams        one program once more, shrunk
 * npm run fuzz -- --seed 123 --runs 1000           the programs from 123 on
 */
const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    runs: { type: "string" },
    only: { type: "string" },
    minutes: { type: "string", default: "1" },
    enough: { type: "string", default: "10" },
    shrink: { type: "string", default: "20" },
  },
});

const unhandled: string[] = [];
process.on("unhandledRejection", (error) => unhandled.push(`An unhandled rejection: ${show(error)}`));
process.on("uncaughtException", (error) => unhandled.push(`An uncaught exception: ${show(error)}`));
process.on("warning", (warning) => unhandled.push(`A warning: ${show(warning)}`));

function show(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function run<Program>(kind: Fuzzed<Program>): Promise<Failure[]> {
  const started = performance.now();
  const isReplay = values.seed !== undefined;
  const first = isReplay ? Number(values.seed) : Math.floor(Math.random() * 1e9);
  const runs = Number(values.runs ?? (isReplay ? 1 : 200));
  const failures: Failure[] = [];
  let ran = 0;
  do {
    const found = await fuzz(kind, {
      seed: first + ran,
      runs,
      shrinkFor: Number(values.shrink) * 1_000,
      enough: Number(values.enough) - failures.length,
      failed: ({ seed, message }) => console.log(`\n${kind.name}, seed ${seed}: ${message}`),
    });
    failures.push(...found);
    ran += runs;
    // Each problem once: a failing program that is shrunk fails again and again.
    for (const problem of new Set(unhandled.splice(0))) {
      console.log(`\n${kind.name}, seeds ${first + ran - runs} to ${first + ran - 1}: ${problem}`);
      failures.push({ seed: first + ran - runs, message: problem });
    }
  } while (
    !isReplay &&
    failures.length < Number(values.enough) &&
    performance.now() - started < Number(values.minutes) * 60_000
  );
  const seconds = (performance.now() - started) / 1_000;
  console.log(
    `${kind.name}: ${ran} programs from seed ${first} in ${seconds.toFixed(1)} s, ${failures.length} failures`,
  );
  return failures;
}

countAllTimers();
let failures = 0;
for (const kind of fuzzed) {
  if (values.only !== undefined && values.only !== kind.name) continue;
  const leftOver = watchResources();
  await kind.start?.();
  failures += (await run(kind)).length;
  await kind.stop?.();
  const left = await leftOver();
  if (left.length > 0) console.log(`\n${kind.name}: left over are ${left.join(", ")}`);
  failures += left.length;
}
process.exit(failures === 0 ? 0 : 1);
