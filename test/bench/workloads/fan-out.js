import { median, quantile, spread } from "../statistics.js";

/** How many events follow each other in one round, each when the one before has reached every client. */
const events = 5;

export const fanOut1000 = fanOut(1_000);
export const fanOut5000 = fanOut(5_000);

/** One event to many clients: the memory broker here, a channel or a loop over the responses elsewhere. */
function fanOut(streams) {
  let published = 0;
  return {
    title: `fan-out of one event to ${streams.toLocaleString("en")} clients`,
    rounds: 10,
    // None in the middle of a measure.
    pingInterval: 3_600_000,
    columns: ["last client ms", "p50 ms", "p99 ms", "CPU µs/delivery"],
    admits: (contender) => contender.ask("publishes"),

    async prepare(contender, client) {
      await client.ask("hold", { port: contender.ready, streams, path: "/room" });
      for (let n = 0; n < 20; n++) await deliver(contender, client);
    },

    async round(contender, client) {
      const begun = await contender.ask("begin");
      const waits = [];
      for (let n = 0; n < events; n++) waits.push(await deliver(contender, client));
      const { cpu } = await contender.ask("end", begun);
      const of = (q) => median(waits.map((one) => quantile(one, q)));
      return { last: of(1), p50: of(0.5), p99: of(0.99), cpu: cpu / events / streams };
    },

    score: ({ last }) => 1 / last,
    cost: ({ cpu }) => cpu,

    show: (rounds) => [
      `${median(rounds.map((r) => r.last)).toFixed(1)} ±${Math.round(spread(rounds.map((r) => r.last)) * 100)} %`,
      median(rounds.map((r) => r.p50)).toFixed(1),
      median(rounds.map((r) => r.p99)).toFixed(1),
      median(rounds.map((r) => r.cpu)).toFixed(2),
    ],
  };

  async function deliver(contender, client) {
    await client.ask("arm");
    const at = await contender.ask("publish", published++);
    return client.ask("waits", at);
  }
}
