// Looks for the lines that the README's comparison was read in: `npm run sources`, after `npm ci`.
import { readFileSync } from "node:fs";

const guide = readFileSync(new URL("../../examples/migrating/README.md", import.meta.url), "utf8");
const table = guide.slice(guide.indexOf("| what | file | line |")).split("\n").slice(2);
const unquote = (cell) => cell.trim().replace(/^(`+) ?([^]*?) ?\1$/, "$2");

let source;
let missing = 0;
for (const row of table.filter((line) => line.startsWith("|"))) {
  const [what, file, line] = row.split("|").slice(1, -1).map(unquote);
  if (file !== "") source = readFileSync(new URL(`node_modules/${file}`, import.meta.url), "utf8");
  if (source.includes(line)) continue;
  missing++;
  console.error(`not there any more: ${what}: ${line}`);
}
if (missing > 0) process.exitCode = 1;
else console.log("every line is there");
