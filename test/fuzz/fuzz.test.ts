import { describe, expect, it } from "vitest";
import { fuzz } from "./fuzz.js";
import { fuzzed } from "./fuzzed.js";
import { watchResources } from "./resources.js";

/*
 * The same programs each time, for a few seconds; `.ci/run` runs more. `npm run fuzz -- --seed 123 --only streams`
 * replays a failed program, and shrinks it.
 */
const runs: Readonly<Record<string, number>> = { streams: 150, memory: 500 };

describe("random programs do what the model says", () => {
  it.each(fuzzed.filter(({ name }) => name in runs))("$name", { timeout: 120_000 }, async (kind) => {
    const leftOver = watchResources();
    const failures = await fuzz(kind, { seed: 1, runs: runs[kind.name] as number, shrinkFor: 0, enough: 5 });
    expect(failures).toEqual([]);
    expect(await leftOver()).toEqual([]);
  });
});
