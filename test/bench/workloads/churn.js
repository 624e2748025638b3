import { median, spread } from "../statistics.js";
import { empty } from "./empty.js";

const times = 1_000;
const atOnce = 50;

/** Clients that connect, wait for the first event, and leave. */
export const churn = {
  title: `connect and leave, ${atOnce} at once`,
  rounds: 15,
  columns: ["streams/s", "CPU µs/stream"],

  async prepare(contender, client) {
    for (let n = 0; n < 4; n++) await client.ask("churn", { port: contender.ready, times, atOnce });
  },

  async round(contender, client) {
    const begun = await contender.ask("begin");
    const took = await client.ask("churn", { port: contender.ready, times, atOnce });
    await empty(contender);
    const { cpu } = await contender.ask("end", begun);
    return { rate: (times * 1_000) / took, cpu: cpu / times };
  },

  score: ({ rate }) => rate,
  cost: ({ cpu }) => cpu,

  show: (rounds) => [
    `${Math.round(median(rounds.map((r) => r.rate))).toLocaleString("en")} ±${Math.round(spread(rounds.map((r) => r.rate)) * 100)} %`,
    median(rounds.map((r) => r.cpu)).toFixed(0),
  ],
};
