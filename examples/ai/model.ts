import { setTimeout as sleep } from "node:timers/promises";

/** Stands in for a language model: it answers word by word. `model.answer` can be replaced, as the tests do. */
export const model = {
  async *answer(prompt: string, signal: AbortSignal): AsyncGenerator<string> {
    for (const word of `You asked: ${prompt} Sunlight scatters, and blue scatters most.`.split(/(?<= )/)) {
      await sleep(100, undefined, { signal });
      yield word;
    }
  },
};
