import { setTimeout as sleep } from "node:timers/promises";

/** Resolves when the server has noticed that everybody has left. */
export async function empty(contender) {
  for (let n = 0; n < 1_000 && (await contender.ask("connections")) > 0; n++) await sleep(10);
}
