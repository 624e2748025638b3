import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { model } from "../../examples/ai/model.js";
import { runExample } from "../support/example.js";
import { Gate } from "../support/stage.js";
import { recipes, Tab } from "./recipes.js";

const { answer } = model;
afterEach(() => void (model.answer = answer));

const words = ["Sunlight ", "scatters, ", "and blue ", "scatters most."];

/** A model that says its first two words, and the others when it may. `asked` counts how often it was used. */
function teachModel(rest: (signal: AbortSignal) => Promise<unknown>): { asked: number; signal?: AbortSignal } {
  const seen: { asked: number; signal?: AbortSignal } = { asked: 0 };
  model.answer = async function* (_prompt, signal) {
    seen.asked += 1;
    seen.signal = signal;
    yield words[0] as string;
    yield words[1] as string;
    await rest(signal);
    yield words[2] as string;
    yield words[3] as string;
  };
  return seen;
}

const untilAborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));

describe.each(Object.entries(recipes))("examples/ai/%s with its client", (name, recipe) => {
  let url: string;
  beforeAll(async () => {
    ({ url } = await runExample(`ai/${name}`));
  });

  test("a reload in the middle, and a second tab, have the whole answer of one model", async () => {
    const gate = new Gate();
    const seen = teachModel(() => gate.opened);
    const first = new Tab(recipe, url, "reload");
    await first.begun();
    await first.reload();
    const tabs = [new Tab(recipe, url, "reload"), new Tab(recipe, url, "reload")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    gate.open();
    await Promise.all(tabs.map(({ done }) => done));
    for (const { text } of tabs) expect(text).toBe(words.join(""));
    expect(seen.asked).toBe(1);
  });

  test("a stop reaches the model and every tab", async () => {
    const seen = teachModel(untilAborted);
    const tabs = [new Tab(recipe, url, "stop"), new Tab(recipe, url, "stop")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    expect(await recipe.stop(url, "stop")).toEqual({ stopped: true });
    for (const { done } of tabs) {
      if (recipe.stopped === undefined) await done;
      else await expect(done).rejects.toThrow(recipe.stopped);
    }
    expect(seen.signal?.reason).toBe("stopped");
    expect(await recipe.stop(url, "stop")).toEqual({ stopped: false });
  });

  test("a model that fails is an error in every client, without its text", async () => {
    const gate = new Gate();
    teachModel(async () => {
      await gate.opened;
      throw new Error("a secret of the server's");
    });
    const tabs = [new Tab(recipe, url, "failure"), new Tab(recipe, url, "failure")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    gate.open();
    for (const { done } of tabs) {
      const error = await done.catch((reason: unknown) => reason);
      expect(String(error)).toMatch(recipe.failed);
      expect(String(error)).not.toContain("secret");
    }
  });
});
