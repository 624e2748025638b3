/**
 * Many streams on one machine: `node scale.js [ready] [idle] [broadcast] [close] [storm] [cluster]`.
 *
 * A process may have 20,000 descriptors here, so one server holds up to 19,000 streams and `cluster` spreads 100,000 over
 * six processes behind one port. Clients are plain sockets in processes of their own, from addresses of 127.0.0.0/8.
 */
import cluster from "node:cluster";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { pinning, start } from "./processes.js";
import { quantile } from "./statistics.js";
import { empty } from "./workloads/empty.js";

const library = new URL("../../dist/index.js", import.meta.url).href;
const pingInterval = 10_000;

function open(name, options = {}) {
  return start("server.js", 0, [name, JSON.stringify({ pingInterval, library, ...options })], ["--expose-gc"]);
}

/** Runs `work` with a server and its client, and stops both. */
async function scene(name, work) {
  const server = await open(name);
  const client = await start("client.js", 1, ["0"]);
  try {
    return await work(server, client);
  } finally {
    await client.stop();
    await server.stop();
  }
}

/** Opens a few streams first, so that nothing is measured cold. */
async function warm(server, client) {
  await client.ask("hold", { port: server.ready, streams: 500, path: "/room" });
  await client.ask("release");
  await empty(server);
}

const kilobytes = (bytes) => (bytes / 1_024).toFixed(1);

const measures = {
  /**
   * How long the event loop is blocked while all sources are always ready and all clients read. There is no row for raw:
   * Node accepts one connection in each turn of the loop, and raw's turns are so long that the streams never all open.
   */
  async ready() {
    const rows = [["streams", "longest block ms, of five seconds"]];
    for (const streams of [1, 50, 300, 1_000]) {
      rows.push(
        await scene("ours", async (server, client) => {
          await client.ask("drain", { port: server.ready, streams: 10, events: 20_000, kind: "event" });
          await client.ask("hold", { port: server.ready, streams, path: "/ready?count=1000000000" });
          await sleep(1_000);
          const begun = await server.ask("begin");
          await sleep(5_000);
          const { block } = await server.ask("end", begun);
          return [streams, block.toFixed(1)];
        }),
      );
    }
    return rows;
  },

  /** What idle streams hold, and what their pings cost, as their number grows. */
  async idle() {
    const rows = [["", "streams", "heap kB/stream", "resident kB/stream", "CPU s/min", "longest block ms"]];
    for (const streams of [5_000, 10_000, 19_000]) {
      for (const name of ["raw", "ours"]) {
        rows.push(
          await scene(name, async (server, client) => {
            await warm(server, client);
            const before = await server.ask("memory");
            const opening = await server.ask("begin");
            await client.ask("hold", { port: server.ready, streams, path: "/room" });
            const { peak } = await server.ask("end", opening);
            const heap = (await server.ask("memory")) - before;
            const begun = await server.ask("begin");
            const seconds = (2 * pingInterval) / 1_000;
            await sleep(seconds * 1_000);
            const { cpu, block } = await server.ask("end", begun);
            const perMinute = ((cpu / 1e6) * 60) / seconds;
            return [
              name,
              streams,
              kilobytes(heap / streams),
              kilobytes(peak / streams),
              perMinute.toFixed(2),
              block.toFixed(1),
            ];
          }),
        );
      }
    }
    return rows;
  },

  /** One event to 19,000 streams. */
  async broadcast() {
    const rows = [["", "streams", "median ms", "p99 ms", "CPU ms", "longest block ms"]];
    const streams = 19_000;
    for (const name of ["raw", "ours", "raw", "ours"]) {
      rows.push(
        await scene(name, async (server, client) => {
          await client.ask("hold", { port: server.ready, streams, path: "/room" });
          let waits = [];
          let cpu = 0;
          let block = 0;
          const times = 5;
          for (let n = 0; n < times; n++) {
            await client.ask("arm");
            const begun = await server.ask("begin");
            const at = await server.ask("publish", n);
            waits = waits.concat(await client.ask("waits", at));
            const used = await server.ask("end", begun);
            cpu += used.cpu / times;
            block = Math.max(block, used.block);
          }
          return [
            name,
            streams,
            quantile(waits, 0.5).toFixed(0),
            quantile(waits, 0.99).toFixed(0),
            (cpu / 1_000).toFixed(0),
            block.toFixed(1),
          ];
        }),
      );
    }
    return rows;
  },

  /** `server.close()` with 19,000 streams open. */
  async close() {
    const streams = 19_000;
    const row = await scene("ours", async (server, client) => {
      await client.ask("hold", { port: server.ready, streams, path: "/room" });
      const begun = await server.ask("begin");
      const milliseconds = await server.ask("close");
      const { block, cpu } = await server.ask("end", begun);
      return [streams, milliseconds.toFixed(0), (cpu / 1_000).toFixed(0), block.toFixed(1)];
    });
    return [["streams", "ms until closed", "CPU ms", "longest block ms"], row];
  },

  /** 15,000 clients that come back within ten seconds, each with the ID of an event that it has had. */
  async storm() {
    const streams = 15_000;
    const row = await scene("ours", async (server, client) => {
      await warm(server, client);
      const ids = await server.ask("fill", 200);
      const begun = await server.ask("begin");
      const milliseconds = await client.ask("resume", { port: server.ready, streams, ids, within: 10_000 });
      const { block, cpu } = await server.ask("end", begun);
      return [streams, milliseconds.toFixed(0), (cpu / 1_000).toFixed(0), block.toFixed(1)];
    });
    return [["clients", "ms until all are up to date", "CPU ms", "longest block ms"], row];
  },

  /** 100,000 streams in six processes behind one port. */
  async cluster() {
    const [workers, perClient, clients] = [6, 16_667, 6];
    cluster.setupPrimary({
      exec: new URL("scale-worker.js", import.meta.url).pathname,
      args: [JSON.stringify({ pingInterval, library })],
      execArgv: ["--expose-gc"],
    });
    const servers = await Promise.all(Array.from({ length: workers }, startWorker));
    const { port } = servers[0];
    const before = await Promise.all(servers.map(({ ask }) => ask("figures")));
    const crowd = await Promise.all(Array.from({ length: clients }, (_, n) => start("client.js", 1, [String(n)])));
    await Promise.all(crowd.map((client) => client.ask("hold", { port, streams: perClient, path: "/room" })));
    const held = await Promise.all(servers.map(({ ask }) => ask("figures")));
    await sleep(2 * pingInterval);
    const after = await Promise.all(servers.map(({ ask }) => ask("figures")));
    const rows = held.map((now, n) => [
      n + 1,
      now.streams,
      kilobytes((now.heap - before[n].heap) / now.streams),
      kilobytes((now.resident - before[n].resident) / now.streams),
      ((after[n].cpu - now.cpu) / 1e6 / ((2 * pingInterval) / 60_000)).toFixed(2),
    ]);
    await Promise.all(crowd.map((client) => client.stop()));
    for (const { worker } of servers) worker.kill();
    return [["process", "streams", "heap kB/stream", "resident kB/stream", "CPU s/min"], ...rows];
  },
};

function startWorker() {
  const worker = cluster.fork();
  const answers = [];
  return new Promise((resolve) => {
    worker.on("message", ({ port, figures }) => {
      if (figures !== undefined) return answers.shift()(figures);
      resolve({
        worker,
        port,
        ask: (command) => new Promise((answer) => (answers.push(answer), worker.send(command))),
      });
    });
  });
}

const asked = process.argv.slice(2);
console.log(`Node ${process.version}, ${cpus()[0]?.model ?? "unknown CPU"}, ${pinning}; a ping every 10 s.\n`);
for (const name of asked.length > 0 ? asked : Object.keys(measures)) {
  const [head, ...rows] = await measures[name]();
  const lines = [head, head.map(() => "---:"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  console.log(`## ${name}\n\n${lines.join("\n")}\n`);
}
process.exit();
