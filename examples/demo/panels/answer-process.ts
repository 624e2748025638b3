import { postgresBroker } from "express-event-source/postgres";
import { history } from "../history.js";
import { borrow } from "../link.js";
import { complete } from "../model.js";

// This process writes the answers and keeps none of them, so it can be killed at any moment.
const broker = postgresBroker({ pool: borrow(), history });
const tell = (message: object) => process.send?.(message);

async function* tokens(prompt: string, signal: AbortSignal) {
  let made = 0;
  for await (const token of complete(prompt, signal)) {
    made += 1;
    yield { data: token };
  }
  yield { event: "done", data: { tokens: made } };
}

process.on("message", async ({ channel, prompt }: { channel?: string; prompt: string }) => {
  if (channel === undefined) return;
  // If this process dies, all readers of the answer are told within four seconds that it is lost.
  const run = await broker.produce(channel, ({ signal }) => tokens(prompt, signal), { lease: 2_000 });
  tell({ claimed: channel });
  run?.done.then(
    (outcome) => tell({ line: `answer: ${outcome}` }),
    (error) => tell({ line: `answer: ${String(error)}` }),
  );
});

process.on("disconnect", () => process.exit());
