import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";
import { cpus } from "node:os";
import { pinning, start } from "./processes.js";
import { median, quantile } from "./statistics.js";
import { churn } from "./workloads/churn.js";
import { fanOut1000, fanOut5000 } from "./workloads/fan-out.js";
import { idle } from "./workloads/idle.js";
import { fifty, fiftyCold, fiftyData, one, oneCold, oneData, tokens } from "./workloads/ready.js";
import { stalled } from "./workloads/stalled.js";

const workloads = {
  one,
  "one-cold": oneCold,
  fifty,
  "fifty-cold": fiftyCold,
  "one-data": oneData,
  "fifty-data": fiftyData,
  tokens,
  "fan-out-1000": fanOut1000,
  "fan-out-5000": fanOut5000,
  idle,
  churn,
  stalled,
};
const contenders = ["raw", "ours", "loop", "better-sse", "fastify-sse", "hono", "h3"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Only these, and raw. */
    only: { type: "string" },
    rounds: { type: "string" },
    /** Another build of the library, measured as "against". */
    against: { type: "string" },
    /** A folder for a CPU profile of each server. */
    profile: { type: "string" },
  },
});
const library = new URL("../../dist/index.js", import.meta.url).href;
const names = [
  "raw",
  ...(values.only?.split(",") ?? contenders).filter((name) => name !== "raw"),
  ...(values.against === undefined ? [] : ["against"]),
];

function open(name, workload) {
  const profile =
    values.profile === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${resolve(values.profile)}`, `--cpu-prof-name=${name}.cpuprofile`];
  const built = name === "against" ? pathToFileURL(resolve(values.against)).href : library;
  return start(
    "server.js",
    0,
    [
      name === "against" ? "ours" : name,
      JSON.stringify({ pingInterval: workload.pingInterval ?? 15_000, library: built }),
    ],
    ["--expose-gc", ...profile],
  );
}

/** All contenders run side by side and take turns, so that each round of each sees the same machine. */
async function measure(workload) {
  const entrants = [];
  for (const name of names) {
    const contender = await open(name, workload);
    if (workload.admits !== undefined && !(await workload.admits(contender))) {
      await contender.stop();
      continue;
    }
    // Each has clients of its own, so that those of fan-out can stay for all rounds.
    const client = await start("client.js", 1, [String(entrants.length)]);
    entrants.push({ name, contender, client, prepared: await workload.prepare(contender, client), rounds: [] });
  }
  for (let n = 0; n < Number(values.rounds ?? workload.rounds); n++) {
    for (const entrant of entrants) {
      if (workload.isCold) {
        await entrant.contender.stop();
        entrant.contender = await open(entrant.name, workload);
      }
      const { contender, client, prepared, rounds } = entrant;
      rounds.push(await workload.round(contender, client, prepared));
    }
  }
  for (const { contender, client } of entrants) {
    await client.stop();
    await contender.stop();
  }
  return entrants;
}

/** Each round is compared with raw's of the same turn: what slows both down cancels out. */
function ratio(rounds, raw, score) {
  return median(rounds.map((round, n) => score(round) / score(raw[n])));
}

/** What a busy machine adds to CPU time (cold caches, interrupts) is never negative: the quiet rounds tell. */
function costRatio(rounds, raw, cost) {
  return quantile(raw.map(cost), 0.1) / quantile(rounds.map(cost), 0.1);
}

function table(workload, entrants) {
  const raw = entrants[0].rounds;
  const rows = [
    ["", "ratio to raw", "CPU ratio to raw", ...workload.columns],
    ...entrants.map(({ name, rounds }) => [
      name,
      ratio(rounds, raw, workload.score).toFixed(2),
      costRatio(rounds, raw, workload.cost).toFixed(2),
      ...workload.show(rounds),
    ]),
  ];
  rows.splice(
    1,
    0,
    rows[0].map((_, n) => (n === 0 ? "---" : "---:")),
  );
  return `## ${workload.title}\n\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n`;
}

console.log(
  `Node ${process.version}, ${cpus()[0]?.model ?? "unknown CPU"}, ${pinning}; ratios above 1 are better than raw.\n`,
);
for (const name of positionals.length > 0 ? positionals : Object.keys(workloads)) {
  if (workloads[name] === undefined)
    throw new Error(`There is no workload "${name}"; there are ${Object.keys(workloads).join(", ")}.`);
  console.log(table(workloads[name], await measure(workloads[name])));
}
// Whatever still runs ends with the channel to this process.
process.exit();
