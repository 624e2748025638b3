import { median, spread } from "../statistics.js";

/** How long a contender is to be busy in one round: short, so that many rounds see the same noise. */
const busy = 300; // ms

/** Streams that are always ready, at full speed. */
export const one = ready("one stream at full speed", 1);
export const fifty = ready("50 streams at full speed", 50);

function ready(title, streams) {
  return {
    title,
    rounds: 15,
    columns: ["events/s", "CPU µs/event", "longest block ms"],

    async prepare(contender, client) {
      // Until it is compiled; then as many events as fill a round at the best rate seen: a busy machine shows less, never more.
      let events = Math.ceil(20_000 / streams);
      let rate = 0;
      for (let n = 0; n < 6; n++) {
        const took = await client.ask("drain", { port: contender.ready, streams, events });
        rate = Math.max(rate, events / took);
        events = Math.ceil(Math.min(rate * busy, 1_000_000 / streams));
      }
      return { events };
    },

    async round(contender, client, { events }) {
      const begun = await contender.ask("begin");
      const took = await client.ask("drain", { port: contender.ready, streams, events });
      const { cpu, block } = await contender.ask("end", begun);
      return { rate: (streams * events * 1_000) / took, cpu: cpu / streams / events, block };
    },

    /** What is compared with raw, the larger the better. */
    score: ({ rate }) => rate,
    /** CPU time, which a busy machine disturbs least. */
    cost: ({ cpu }) => cpu,

    show: (rounds) => [
      `${Math.round(median(rounds.map((r) => r.rate))).toLocaleString("en")} ±${Math.round(spread(rounds.map((r) => r.rate)) * 100)} %`,
      median(rounds.map((r) => r.cpu)).toFixed(2),
      median(rounds.map((r) => r.block)).toFixed(1),
    ],
  };
}
