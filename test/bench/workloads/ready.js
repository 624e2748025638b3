import { median, spread } from "../statistics.js";

/** How long a contender is to be busy in one round: short, so that many rounds see the same noise. */
const busy = 300; // ms

/** The first events of a process, before V8 has compiled what it will. */
const coldEvents = 300_000;

const figures = {
  columns: ["events/s", "CPU µs/event", "longest block ms"],

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

/** Streams that are always ready, at full speed. */
export const one = warm("one stream at full speed", 1, "event");
export const fifty = warm("50 streams at full speed", 50, "event");
export const oneData = warm("one stream of data alone", 1, "data");
export const fiftyData = warm("50 streams of data alone", 50, "data");
export const tokens = warm("one stream of tokens", 1, "token");

export const oneCold = cold("one stream, the first 300,000 events of a process", 1, "event");
export const fiftyCold = cold("50 streams, the first 300,000 events of a process", 50, "event");

function warm(title, streams, kind) {
  return {
    title,
    rounds: 15,
    ...figures,

    async prepare(contender, client) {
      // Until it is compiled; then as many events as fill a round at the best rate seen: a busy machine shows less, never more.
      let events = Math.ceil(20_000 / streams);
      let rate = 0;
      for (let n = 0; n < 6; n++) {
        const took = await client.ask("drain", { port: contender.ready, streams, events, kind });
        rate = Math.max(rate, events / took);
        events = Math.ceil(Math.min(rate * busy, 1_000_000 / streams));
      }
      return { events };
    },

    round: (contender, client, { events }) => drain(contender, client, { streams, events, kind }),
  };
}

function cold(title, streams, kind) {
  return {
    title,
    rounds: 10,
    ...figures,
    /** Each round has a server of its own. Its clients stay, and are warm from the first round on. */
    isCold: true,
    prepare: (contender, client) =>
      client.ask("drain", { port: contender.ready, streams, events: coldEvents / streams, kind }),
    round: (contender, client) => drain(contender, client, { streams, events: coldEvents / streams, kind }),
  };
}

async function drain(contender, client, { streams, events, kind }) {
  const begun = await contender.ask("begin");
  const took = await client.ask("drain", { port: contender.ready, streams, events, kind });
  const { cpu, block } = await contender.ask("end", begun);
  return { rate: (streams * events * 1_000) / took, cpu: cpu / streams / events, block };
}
