/**
 * Does what a newcomer does: packs the library, installs the tarball in an empty folder beside Express 5, then beside
 * Express 4, and streams from ESM and from CommonJS to curl, `fetch` and the `eventsource` package; then compiles against it.
 *
 * Needs the npm registry and curl.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "newcomer-"));
const run = (command: string, args: string[], cwd: string): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

const routes = `
const app = express();
async function* numbers(from, to) {
  for (let n = from; n <= to; n++) yield { id: n, data: { n } };
}
app.get("/numbers", eventSource((req, { lastEventId }) => (lastEventId === "3" ? null : numbers(1, 3))));
app.post("/echo", express.json(), eventSource((req) => req.body.words));
const server = app.listen(0, () => console.log(server.address().port));
`;
const programs = {
  "esm.mjs": `import express from "express";\nimport { eventSource, EventStreamError } from "express-event-source";\nimport "express-event-source/redis";\nimport "express-event-source/postgres";\n${routes}`,
  "commonjs.cjs": `const express = require("express");\nconst { eventSource, EventStreamError } = require("express-event-source");\nrequire("express-event-source/redis");\nrequire("express-event-source/postgres");\n${routes}`,
  "client.mjs": `
import { EventSource } from "eventsource";
const source = new EventSource(process.argv[2] + "/numbers");
const seen = [];
source.onmessage = (event) => seen.push(event.lastEventId + ":" + event.data);
source.onerror = () => {
  if (source.readyState !== EventSource.CLOSED) return; // it comes back, and gets 204
  console.log(seen.join(" "));
};
`,
  // Both builds in one process: an error of one is an instance of the other's class.
  "both.mjs": `
import { createRequire } from "node:module";
import { encodeEvent, EventStreamError } from "express-event-source";
const other = createRequire(import.meta.url)("express-event-source");
try { other.encodeEvent({}); } catch (error) { console.log(error instanceof EventStreamError, error instanceof TypeError, error.code); }
`,
  "typed.ts": `
import express from "express";
import { type EventStreamItem, eventSource, encodeEvent, memoryBroker, EventStreamError } from "express-event-source";
import { redisBroker } from "express-event-source/redis";
import { postgresBroker, postgresSchema } from "express-event-source/postgres";
const app = express();
app.get("/users/:id", eventSource((req, { signal, lastEventId }) => {
  const id: string = req.params.id as string;
  signal.throwIfAborted();
  return [{ id: lastEventId ?? "0", data: id }];
}));
app.get("/own", eventSource(async function* () { yield { euros: 1 }; }, { toEvent: (price): EventStreamItem => ({ data: price.euros.toFixed(2) }) }));
app.post("/chat", express.json(), async (req, res, next) => {
  await eventSource(["a"], { onClose: ({ reason }) => { const r: string = reason; void r; } })(req, res, next);
});
interface Stock { readonly event: "price"; readonly data: { readonly euros: number } }
const broker = memoryBroker<Stock>();
void broker.publish("a", { event: "price", data: { euros: 1 } });
export const names: unknown[] = [encodeEvent, EventStreamError, redisBroker, postgresBroker, postgresSchema];
`,
};

/**
 * Each is a project of its own, which compiles with declarations: all that it exports of the library must have a name in
 * the one entry that it uses.
 */
const declared = {
  "memory.ts": `
import { type EncodeOptions, type EventSourceOptions, memoryBroker } from "express-event-source";
export const broker = memoryBroker();
export const { publish, publishAll, end, subscribe, produce, stop, close } = broker;
export const encoding = (options: EncodeOptions) => ({ ...options });
export const streaming = (options: EventSourceOptions) => ({ pingInterval: 5_000, ...options });
`,
  "redis.ts": `
import { redisBroker, type RedisBrokerOptions } from "express-event-source/redis";
export const open = (options: RedisBrokerOptions) => redisBroker({ timeout: 1_000, ...options });
export const { publish, publishAll, end, subscribe, produce, stop, close } = open({} as RedisBrokerOptions);
export const withTimeout = (options: RedisBrokerOptions) => ({ timeout: 1_000, ...options });
`,
  "postgres.ts": `
import { postgresBroker, type PostgresBrokerOptions, type TransactionOptions } from "express-event-source/postgres";
export const open = (options: PostgresBrokerOptions) => postgresBroker({ timeout: 1_000, ...options });
export const { publish, publishAll, end, subscribe, produce, stop, close } = open({} as PostgresBrokerOptions);
export const withTimeout = (options: PostgresBrokerOptions) => ({ timeout: 1_000, ...options });
export const clientOf = ({ client }: TransactionOptions) => client;
`,
};

/** How a user's compiler may look for modules. All declarations are checked: `skipLibCheck` is off. */
const resolutions = [
  ["nodenext", "nodenext"],
  ["preserve", "bundler"],
] as const;

function check(what: string, got: string, wanted: string): void {
  if (got !== wanted) throw new Error(`${what}: wanted ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  console.log(`  ${what}: as wanted`);
}

/** What is published is the build and what npm always takes along; no source, test, example or setting. */
function checkContents(paths: readonly string[]): void {
  const wanted = ["LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.cjs", "dist/index.d.ts"];
  const files = paths.map((path) => path.replace(/^package\//, ""));
  check("files that are missing in the tarball", wanted.filter((file) => !files.includes(file)).join(), "");
  const isExpected = (file: string) =>
    wanted.includes(file) || /^dist\/[\w.-]+\.(?:c?js|d\.c?ts)(?:\.map)?$/.test(file);
  check("files that do not belong in the tarball", files.filter((file) => !isExpected(file)).join(), "");
}

async function tryOut(name: string, cwd: string): Promise<void> {
  console.log(` ${name}`);
  const server = spawn(process.execPath, [name], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [port] = (await once(createInterface(server.stdout), "line")) as [string];
    const url = `http://127.0.0.1:${port}`;
    const frames = 'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n';
    check("curl -N", run("curl", ["-sN", `${url}/numbers`], cwd), frames);
    check("fetch by POST", await post(`${url}/echo`), "data: a\n\ndata: b\n\n");
    check(
      "the eventsource package, until 204",
      run(process.execPath, ["client.mjs", url], cwd).trim(),
      '1:{"n":1} 2:{"n":2} 3:{"n":3}',
    );
  } finally {
    server.kill();
  }
}

async function post(url: string): Promise<string> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ words: ["a", "b"] }),
  });
  return answer.text();
}

try {
  run("npm", ["pack", "--pack-destination", folder], root);
  const tarball = run("ls", [folder], root).trim();
  checkContents(
    run("tar", ["-tzf", join(folder, tarball)], root)
      .trim()
      .split("\n"),
  );
  for (const major of ["5", "4"]) {
    const cwd = join(folder, `express-${major}`);
    console.log(`Express ${major}`);
    run("mkdir", [cwd], root);
    writeFileSync(join(cwd, "package.json"), JSON.stringify({ private: true }));
    cpSync(join(root, ".npmrc"), join(cwd, ".npmrc"));
    run(
      "npm",
      [
        "install",
        `../${tarball}`,
        `express@${major}`,
        `@types/express@${major}`,
        "@types/node@20",
        "typescript@6.0.3",
        "eventsource",
      ],
      cwd,
    );
    for (const [name, text] of Object.entries({ ...programs, ...declared })) writeFileSync(join(cwd, name), text);
    await tryOut("esm.mjs", cwd);
    await tryOut("commonjs.cjs", cwd);
    check("errors of both builds", run(process.execPath, ["both.mjs"], cwd).trim(), "true true ERR_EMPTY_EVENT");
    const compile = (name: string, module: string, resolution: string, ...more: string[]) => {
      const options = ["--module", module, "--moduleResolution", resolution, "--target", "es2022", "--types", "node"];
      run("npx", ["tsc", "--noEmit", "--strict", "--exactOptionalPropertyTypes", ...options, ...more, name], cwd);
    };
    for (const type of ["module", "commonjs"]) {
      writeFileSync(
        join(cwd, "package.json"),
        JSON.stringify({ ...(JSON.parse(run("cat", ["package.json"], cwd)) as object), type }),
      );
      for (const [module, resolution] of resolutions) compile("typed.ts", module, resolution);
      console.log(`  types, as ${type}: compiled`);
    }
    for (const name of Object.keys(declared)) compile(name, "nodenext", "nodenext", "--declaration");
    console.log("  declarations: compiled");
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
