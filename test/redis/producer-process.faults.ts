import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { read } from "../broker/contract.js";
import { connected } from "./connected.js";
import { describeWithRedis } from "./redis-server.js";

describeWithRedis("the process of a producer", (redis) => {
  const open = connected(redis);

  /** Starts a producer of the channel, and returns its lines as they come. */
  async function start(channel: string): Promise<[ChildProcess, AsyncIterator<string>]> {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", fileURLToPath(new URL("producer-process.ts", import.meta.url))],
      { env: { ...process.env, REDIS_URL: redis.url, CHANNEL: channel }, stdio: ["ignore", "pipe", "inherit"] },
    );
    onTestFinished(() => void child.kill("SIGKILL"));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("producing");
    return [child, lines];
  }

  it.each([
    ["is killed", "SIGKILL"],
    ["stands still", "SIGSTOP"],
  ] as const)("that %s leaves `lost` and the end to who is there and to who comes later", async (_what, signal) => {
    const { broker } = open({ prefix: "process:" });
    const [child, lines] = await start(signal);
    const readers = await Promise.all([1, 2, 3].map(() => read(broker, signal, { from: "start" })));
    await Promise.all(readers.map((reader) => reader.take(3)));
    const begun = performance.now();
    child.kill(signal);
    const answers = await Promise.all(readers.map((reader) => reader.rest()));
    // One second of lease and two to notice; the rest is for a busy machine.
    expect(performance.now() - begun).toBeLessThan(10_000);
    for (const answer of answers) expect(answer.filter(({ event }) => event === "lost")).toHaveLength(1);
    expect((await (await read(broker, signal, { from: "start" })).rest()).at(-1)?.event).toBe("lost");
    expect(await broker.stop(signal)).toBe(false);
    if (signal === "SIGKILL") return;
    child.kill("SIGCONT");
    // It comes back, hears of it, and writes nothing more.
    expect((await lines.next()).value).toBe("lost");
    expect((await (await read(broker, signal, { from: "start" })).rest()).at(-1)?.event).toBe("lost");
  });

  it("is stopped from another", async () => {
    const { broker } = open({ prefix: "process:" });
    const [, lines] = await start("stopped");
    const reader = await read(broker, "stopped", { from: "start" });
    await reader.take(3);
    expect(await broker.stop("stopped")).toBe(true);
    await reader.rest();
    expect((await lines.next()).value).toBe("stopped");
  });
});
