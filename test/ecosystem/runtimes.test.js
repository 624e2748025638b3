/** The built library under Node, Bun and Deno. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { reader } from "./scene.js";

const program = fileURLToPath(new URL("runtimes/server.mjs", import.meta.url));
const versions = { bun: "1.4.5", deno: "2.9.6" };
// Not dependencies: npm cannot lock the packages that hold their binaries for each platform.
const folder = mkdtempSync(join(tmpdir(), "runtimes-"));
after(() => rmSync(folder, { recursive: true, force: true }));
before(() => {
  const packages = Object.entries(versions).map(([name, version]) => `${name}@${version}`);
  const allowed = Object.keys(versions).map((name) => [name, true]);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ allowScripts: Object.fromEntries(allowed) }));
  execFileSync("npm", ["install", "--no-save", "--no-fund", "--no-audit", ...packages], { cwd: folder });
});
const installed = (name) => join(folder, "node_modules", ".bin", name);
const runtimes = {
  node: [process.execPath, program],
  bun: [installed("bun"), program],
  deno: [installed("deno"), "run", "-A", "--no-lock", program],
};

for (const [name, [executable, ...args]] of Object.entries(runtimes)) {
  test(`${name} streams, resumes, broadcasts, and notices a client that leaves`, { timeout: 30_000 }, async (t) => {
    const child = spawn(executable, args, { stdio: ["pipe", "pipe", "inherit"] });
    t.after(() => child.kill());
    const [port] = await once(createInterface(child.stdout), "line");
    const url = `http://127.0.0.1:${port}`;
    const numbers = 'id: 1\ndata: {"n":1}\n\nid: 2\ndata: {"n":2}\n\nid: 3\ndata: {"n":3}\n\n';
    assert.equal(await (await fetch(`${url}/numbers`)).text(), numbers);
    assert.equal((await fetch(`${url}/numbers`, { headers: { "Last-Event-ID": "3" } })).status, 204);
    const post = (path, body) =>
      fetch(url + path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    assert.equal(await (await post("/echo", { words: ["a", "b"] })).text(), "data: a\n\ndata: b\n\n");
    const failure = await fetch(`${url}/fails`);
    assert.equal(failure.status, 500);
    assert.equal(await failure.text(), "the application's own words");

    const rooms = await Promise.all([1, 2].map(async () => reader(await fetch(`${url}/rooms/7`))));
    const { id } = await (await post("/rooms/7", { text: "hello" })).json();
    for (const room of rooms) {
      assert.equal(await room.until("\n\n"), `id: ${id}\ndata: {"text":"hello"}\n\n`);
      await room.cancel();
    }

    const endless = reader(await fetch(`${url}/endless`));
    await endless.until("data: first\n\n");
    await endless.cancel();
    for (;;) {
      const left = await (await fetch(`${url}/left`)).json();
      if (left.length === 0) continue;
      assert.deepEqual(left, ["disconnected"]);
      break;
    }
  });
}
