import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Broker } from "express-event-source";
import { expect, it, onTestFinished } from "vitest";
import { read } from "./contract.js";

/** Starts a process that produces to the channel, and returns its lines as they come. */
export async function startProducer(
  file: URL,
  env: NodeJS.ProcessEnv,
  channel: string,
): Promise<[ChildProcess, AsyncIterator<string>]> {
  const child = spawn(process.execPath, ["--import", "tsx", fileURLToPath(file)], {
    env: { ...process.env, ...env, CHANNEL: channel },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe("producing");
  return [child, lines];
}

/** What is promised where the process of a producer dies, stands still, or is told to stop. */
export function processContract(
  open: () => Broker,
  start: (channel: string) => ReturnType<typeof startProducer>,
): void {
  it.each([
    ["is killed", "SIGKILL"],
    ["stands still", "SIGSTOP"],
  ] as const)(
    "that %s leaves `lost` and the end to those who are there and to those who come later",
    async (_, signal) => {
      const broker = open();
      const [child, lines] = await start(signal);
      const readers = await Promise.all([1, 2, 3].map(() => read(broker, signal, { from: "start" })));
      await Promise.all(readers.map((reader) => reader.take(3)));
      const begun = performance.now();
      child.kill(signal);
      const answers = await Promise.all(readers.map((reader) => reader.rest()));
      // One second of lease and two to notice; the rest is for a busy machine.
      expect(performance.now() - begun).toBeLessThan(10_000);
      for (const answer of answers) expect(answer.filter(({ event }) => event === "lost")).toHaveLength(1);
      const later = async () =>
        (await (await read(broker, signal, { from: "start" })).rest()).map(({ event }) => event);
      expect((await later()).at(-1)).toBe("lost");
      expect(await broker.stop(signal)).toBe(false);
      if (signal === "SIGKILL") return;
      const before = await later();
      child.kill("SIGCONT");
      // It comes back, hears of it, and writes nothing more.
      expect((await lines.next()).value).toBe("lost");
      expect(await later()).toEqual(before);
    },
  );

  it("is stopped from another", async () => {
    const broker = open();
    const [, lines] = await start("stopped");
    const reader = await read(broker, "stopped", { from: "start" });
    await reader.take(3);
    expect(await broker.stop("stopped")).toBe(true);
    await reader.rest();
    expect((await lines.next()).value).toBe("stopped");
  });
}
