import { setTimeout as sleep } from "node:timers/promises";
import { median, spread } from "../statistics.js";
import { empty } from "./empty.js";

const streams = 10_000;
const pingInterval = 2_000;
const pings = 3;

/** Streams to which nothing is published: what each of them holds, and what it costs to keep them alive. */
export const idle = {
  title: `${streams.toLocaleString("en")} idle streams, a ping every ${pingInterval / 1_000} s`,
  rounds: 3,
  pingInterval,
  columns: ["kB/stream", "resident kB/stream", "CPU ms/s", "longest block ms"],

  async prepare(contender, client) {
    await client.ask("hold", { port: contender.ready, streams: 500, path: "/room" });
    await client.ask("release");
    await empty(contender);
  },

  async round(contender, client) {
    const before = await contender.ask("memory");
    const opening = await contender.ask("begin");
    await client.ask("hold", { port: contender.ready, streams, path: "/room" });
    const { peak } = await contender.ask("end", opening);
    const memory = (await contender.ask("memory")) - before;
    const begun = await contender.ask("begin");
    await sleep(pings * pingInterval);
    const { cpu, block } = await contender.ask("end", begun);
    await client.ask("release");
    await empty(contender);
    return {
      memory: memory / streams,
      resident: peak / streams,
      cpu: cpu / 1_000 / ((pings * pingInterval) / 1_000),
      block,
    };
  },

  score: ({ memory }) => 1 / memory,
  cost: ({ cpu }) => cpu,

  show: (rounds) => [
    `${(median(rounds.map((r) => r.memory)) / 1_024).toFixed(1)} ±${Math.round(spread(rounds.map((r) => r.memory)) * 100)} %`,
    (median(rounds.map((r) => r.resident)) / 1_024).toFixed(1),
    median(rounds.map((r) => r.cpu)).toFixed(0),
    median(rounds.map((r) => r.block)).toFixed(1),
  ],
};
