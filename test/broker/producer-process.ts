import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "express-event-source";

/** What a process does that the tests kill, or have stand still: it produces an answer, word by word, without an end. */
export async function produceWords(broker: Broker): Promise<void> {
  const run = await broker.produce(
    process.env["CHANNEL"] as string,
    async function* () {
      for (let data = 0; ; data++) {
        yield { data };
        await sleep(20);
      }
    },
    { lease: 1000 },
  );
  console.log("producing");
  console.log(await run?.done);
}
