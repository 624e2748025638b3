import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";
import { cpus } from "node:os";
import { pinning, start } from "./processes.js";
import { median } from "./statistics.js";
import { fifty, one } from "./workloads/ready.js";

const workloads = { one, fifty };
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
const names = ["raw", ...(values.only?.split(",") ?? contenders).filter((name) => name !== "raw"), ...(values.against === undefined ? [] : ["against"])];

function open(name, workload) {
  const profile = values.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${resolve(values.profile)}`, `--cpu-prof-name=${name}.cpuprofile`];
  const built = name === "against" ? pathToFileURL(resolve(values.against)).href : library;
  return start("server.js", 0, [name === "against" ? "ours" : name, JSON.stringify({ pingInterval: workload.pingInterval ?? 15_000, library: built })], ["--expose-gc", ...profile]);
}

/** All contenders run side by side and take turns, so that each round of each sees the same machine. */
async function measure(workload) {
  const client = await start("client.js", 1);
  const entrants = [];
  for (const name of names) {
    const contender = await open(name, workload);
    if (workload.admits !== undefined && !(await workload.admits(contender, name))) await contender.stop();
    else entrants.push({ name, contender, prepared: await workload.prepare(contender, client), rounds: [] });
  }
  for (let n = 0; n < Number(values.rounds ?? workload.rounds); n++) {
    for (const { contender, prepared, rounds } of entrants) rounds.push(await workload.round(contender, client, prepared));
  }
  for (const { contender } of entrants) await contender.stop();
  await client.stop();
  return entrants;
}

/** Each round is compared with raw's of the same turn: what slows both down cancels out. */
function ratio(rounds, raw, of, invert = false) {
  return median(rounds.map((round, n) => (invert ? of(raw[n]) / of(round) : of(round) / of(raw[n]))));
}

function table(workload, entrants) {
  const raw = entrants[0].rounds;
  const rows = [
    ["", "ratio to raw", "CPU ratio to raw", ...workload.columns],
    ...entrants.map(({ name, rounds }) => [name, ratio(rounds, raw, workload.score).toFixed(2), ratio(rounds, raw, workload.cpu, true).toFixed(2), ...workload.show(rounds)]),
  ];
  rows.splice(1, 0, rows[0].map((_, n) => (n === 0 ? "---" : "---:")));
  return `## ${workload.title}\n\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n`;
}

console.log(`Node ${process.version}, ${cpus()[0]?.model ?? "unknown CPU"}, ${pinning}; ratios above 1 are better than raw.\n`);
for (const name of positionals.length > 0 ? positionals : Object.keys(workloads)) {
  if (workloads[name] === undefined) throw new Error(`There is no workload "${name}"; there are ${Object.keys(workloads).join(", ")}.`);
  console.log(table(workloads[name], await measure(workloads[name])));
}
