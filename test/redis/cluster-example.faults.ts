import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { EventSource } from "eventsource";
import { expect, it, onTestFinished } from "vitest";
import { describeWith } from "../support/installed.js";
import { isFree } from "./redis-server.js";

/** The first of seven ports in a row that are free. A node of a Redis Cluster listens 10,000 above its port as well. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 2_700);
    const ports = [0, 1, 2, 3, 4, 5, 6].flatMap((n) => (n < 4 ? [first + n] : [first + n, first + n + 10_000]));
    if (!(await Promise.all(ports.map(isFree))).includes(false)) return first;
  }
}

async function prints(child: ChildProcess, text: RegExp, count: number): Promise<void> {
  let printed = "";
  child.stdout?.on("data", (chunk) => (printed += String(chunk)));
  while ((printed.match(text) ?? []).length < count) await once(child.stdout as NodeJS.ReadableStream, "data");
}

describeWith(["redis-server", "redis-cli", "nginx"], "the cluster example", () => {
  it.each([
    ["one server", undefined],
    ["a Redis Cluster", "cluster"],
  ])("on %s loses nothing where the process behind a tab crashes", { timeout: 60_000 }, async (_name, redis) => {
    const port = await freePorts();
    const start = fileURLToPath(new URL("../../examples/cluster/start.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", start], {
      env: { ...process.env, PORT: String(port), REDIS: redis, REDIS_URL: undefined },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(async () => {
      const exit = once(child, "exit");
      child.kill("SIGTERM");
      await exit;
    });
    await prints(child, /serves/g, 3);

    const processes: string[] = [];
    const numbers: number[] = [];
    const source = new EventSource(`http://127.0.0.1:${port}/numbers`);
    onTestFinished(() => source.close());
    let look = () => {};
    source.addEventListener("process", ({ data }) => void processes.push(data as string));
    source.addEventListener("message", ({ data }) => {
      numbers.push(Number(data));
      look();
    });
    const until = (isThere: () => boolean) =>
      new Promise<void>((resolve) => {
        look = () => void (isThere() && resolve());
      });

    await until(() => numbers.length > 3);
    expect((await fetch(`http://127.0.0.1:${port}/`)).headers.get("content-type")).toContain("html");
    expect((await fetch(`http://127.0.0.1:${port}/crash/${processes[0]}`, { method: "POST" })).status).toBe(202);
    await until(() => processes.length > 1 && numbers.length > 10);
    expect(processes[1]).not.toBe(processes[0]);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] as number) + index));
  });
});
