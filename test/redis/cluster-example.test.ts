import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { EventSource } from "eventsource";
import { expect, it, onTestFinished } from "vitest";
import { describeWith } from "../support/installed.js";

/** The first of five ports in a row that nobody listens on. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const taken = await Promise.all(
      [0, 1, 2, 3, 4].map(
        (n) =>
          new Promise<boolean>((resolve) => {
            const socket = connect(first + n, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
            socket.once("connect", () => socket.destroy());
          }),
      ),
    );
    if (!taken.includes(true)) return first;
  }
}

async function prints(child: ChildProcess, text: RegExp, count: number): Promise<void> {
  let printed = "";
  child.stdout?.on("data", (chunk) => (printed += String(chunk)));
  while ((printed.match(text) ?? []).length < count) await once(child.stdout as NodeJS.ReadableStream, "data");
}

describeWith(["redis-server", "nginx"], "the cluster example", () => {
  it("loses nothing where the process behind a tab crashes", { timeout: 60_000 }, async () => {
    const port = await freePorts();
    const start = fileURLToPath(new URL("../../examples/cluster/start.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", start], {
      env: { ...process.env, PORT: String(port), REDIS_URL: undefined },
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
