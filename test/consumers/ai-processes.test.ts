import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { describeWithRedis } from "../redis/redis-server.js";
import { runExample } from "../support/example.js";
import { recipes, Tab } from "./recipes.js";

const lease = "2000";

/** The model repeats it, ten words a second: nobody waits for the end. */
const question = { prompt: "why? ".repeat(1_000), mark: "why?" };

/** Runs the recipe in a process of its own, which can be killed. */
async function startProcess(name: string, redis: string): Promise<{ url: string; kill: () => void }> {
  const child = spawn(process.execPath, ["--import", "tsx", `examples/ai/${name}.ts`], {
    env: { ...process.env, PORT: "0", REDIS_URL: redis, LEASE: lease },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = (): void => void child.kill("SIGKILL");
  onTestFinished(kill);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { url: (await lines.next()).value as string, kill };
}

describeWithRedis("the process that writes an answer is killed", (redis) => {
  const urls = new Map<string, string>();
  beforeAll(async () => {
    for (const name of Object.keys(recipes)) {
      vi.stubEnv("REDIS_URL", redis.url);
      vi.stubEnv("LEASE", lease);
      urls.set(name, (await runExample(`ai/${name}`)).url);
    }
  });

  // What the recipes say when Redis goes.
  afterAll(() => void vi.spyOn(console, "error").mockImplementation(() => {}));

  describe.concurrent.each(Object.entries(recipes))("examples/ai/%s", (name, recipe) => {
    test("its client, at another process by now, gets a failure and the end; so does one that asks later", async () => {
      const url = urls.get(name) as string;
      const dying = await startProcess(name, redis.url);
      const first = new Tab(recipe, dying.url, `death of ${name}`, question);
      await first.begun();
      const second = new Tab(recipe, url, `death of ${name}`, question);
      await second.begun();
      // Besides, the client of AG-UI leaves a rejection unhandled where its connection is cut.
      await first.reload();
      dying.kill();
      await expect(second.done).rejects.toThrow(recipe.failed);
      expect(second.text).toContain("You asked: why?");
      const later = new Tab(recipe, url, `death of ${name}`, question);
      await expect(later.done).rejects.toThrow(recipe.failed);
      expect(later.text).toBe(second.text);
    });
  });
});
