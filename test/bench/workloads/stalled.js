import { setTimeout as sleep } from "node:timers/promises";
import { median, spread } from "../statistics.js";
import { empty } from "./empty.js";

const streams = 20;
/** Some 15 MB a stream: more than the system's own buffers take. */
const events = 100_000;

/** Clients that ask for a stream and read nothing of it: what is held for each of them. */
export const stalled = {
  title: `${streams} clients that read nothing`,
  rounds: 5,
  columns: ["kB held/stream", "peak resident kB/stream"],

  async prepare(contender, client) {
    for (let n = 0; n < 3; n++)
      await client.ask("drain", { port: contender.ready, streams: 1, events: 20_000, kind: "event" });
  },

  async round(contender, client) {
    const before = await contender.ask("memory");
    const begun = await contender.ask("begin");
    await client.ask("stall", { port: contender.ready, streams, events });
    await sleep(2_000);
    const { peak, cpu } = await contender.ask("end", begun);
    const memory = (await contender.ask("memory")) - before;
    await client.ask("release");
    await empty(contender);
    return { memory: memory / streams, peak: peak / streams, cpu };
  },

  score: ({ memory }) => 1 / memory,
  cost: ({ cpu }) => cpu,

  show: (rounds) => [
    `${(median(rounds.map((r) => r.memory)) / 1_024).toFixed(1)} ±${Math.round(spread(rounds.map((r) => r.memory)) * 100)} %`,
    (median(rounds.map((r) => r.peak)) / 1_024).toFixed(0),
  ],
};
