import { expect, it } from "vitest";
import { LazySignal } from "../../src/runtime/lazy-signal.js";
import { failOnWarnings } from "../support/stage.js";

failOnWarnings();

it("calls all that listen, such as a stream's many subscriptions, and does not take them for a leak", () => {
  const lazy = new LazySignal();
  const called: number[] = [];
  const listeners = Array.from({ length: 30 }, (_, n) => ({ handleEvent: () => void called.push(n) }));
  for (const listener of listeners) lazy.addEventListener("abort", listener);
  for (const listener of listeners.slice(0, 2)) lazy.removeEventListener("abort", listener);
  lazy.abort("completed");
  expect(called).toEqual(Array.from({ length: 28 }, (_, n) => n + 2));
});
