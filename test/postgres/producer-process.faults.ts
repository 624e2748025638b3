import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { postgresBroker, type PostgresBroker } from "express-event-source/postgres";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { read } from "../broker/contract.js";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres("the process of a producer on Postgres", (postgres) => {
  let broker: PostgresBroker;
  beforeEach(async () => {
    broker = postgresBroker({ pool: postgres.pool() });
    onTestFinished(() => broker.close());
    await broker.migrate();
  });

  /** Starts a producer of the channel, and returns its lines as they come. */
  async function start(channel: string): Promise<[ChildProcess, AsyncIterator<string>]> {
    const file = fileURLToPath(new URL("producer-process.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", file], {
      env: { ...process.env, DATABASE_URL: postgres.url, CHANNEL: channel },
      stdio: ["ignore", "pipe", "inherit"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe("producing");
    return [child, lines];
  }

  it.each([
    ["is killed", "SIGKILL"],
    ["stands still", "SIGSTOP"],
  ] as const)(
    "that %s leaves `lost` and the end to those who are there and to those who come later",
    async (_, signal) => {
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

  it("that is killed leaves `lost` to those who subscribe when nobody has noticed yet", async () => {
    const [child] = await start("unnoticed");
    const reader = await read(broker, "unnoticed", { from: "start" });
    await reader.take(3);
    await reader.return();
    await broker.close();
    child.kill("SIGKILL");
    const pool = postgres.pool();
    const isOver = "SELECT FROM event_source.channels WHERE name = 'unnoticed' AND lease_until < clock_timestamp()";
    while ((await pool.query(isOver)).rowCount === 0);
    const late = postgresBroker({ pool });
    onTestFinished(() => late.close());
    const rest = await (await read(late, "unnoticed", { from: "start" })).rest();
    expect(rest.map(({ event }) => event).filter((event) => event !== undefined)).toEqual(["lost"]);
  });

  it("is stopped from another", async () => {
    const [, lines] = await start("stopped");
    const reader = await read(broker, "stopped", { from: "start" });
    await reader.take(3);
    expect(await broker.stop("stopped")).toBe(true);
    await reader.rest();
    expect((await lines.next()).value).toBe("stopped");
  });
});
