/**
 * Runs the tests under each supported major version of Node, all or some: `npm run test:nodes [-- 22 24 test/stream]`.
 *
 * Needs the npm registry: each version is a package.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const isVersion = (argument: string): boolean => /^\d+$/.test(argument);
const asked = process.argv.slice(2);
const files = asked.filter((argument) => !isVersion(argument));
const versions = asked.some(isVersion) ? asked.filter(isVersion) : ["20", "22", "24", "26"];
const folder = mkdtempSync(join(tmpdir(), "nodes-"));
const failed: string[] = [];
try {
  for (const version of versions) {
    const platform = process.platform === "win32" ? "win" : process.platform;
    const prefix = join(folder, version);
    execFileSync("npm", ["install", "--prefix", prefix, "--no-save", `node-${platform}-${process.arch}@${version}`], {
      stdio: "inherit",
    });
    const node = join(prefix, "node_modules", `node-${platform}-${process.arch}`, "bin", "node");
    console.log(`Node ${execFileSync(node, ["--version"], { encoding: "utf8" }).trim()}`);
    const run = spawnSync(node, ["node_modules/vitest/vitest.mjs", "run", ...files], { stdio: "inherit" });
    if (run.status !== 0) failed.push(version);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(failed.length === 0 ? `Green on ${versions.join(", ")}` : `Red on ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
