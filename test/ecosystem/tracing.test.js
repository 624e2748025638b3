/** Tracing and error reporting: the span of a stream lasts as long as the stream, and its failure is reported. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

for (const name of ["opentelemetry", "sentry"]) {
  test(name, { timeout: 30_000 }, async () => {
    // Each patches what is loaded after it, so each has a process of its own.
    const program = fileURLToPath(new URL(`tracing/${name}.cjs`, import.meta.url));
    const child = spawn(process.execPath, [program], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    const [code] = await once(child, "close");
    assert.equal(code, 0, output);
    assert.equal(output, "as wanted\n");
  });
}
