import { monitorEventLoopDelay } from "node:perf_hooks";

/** One contender in a process of its own: `node --expose-gc server.js NAME '{"pingInterval":…,"library":…}'`. */
const [name, options] = process.argv.slice(2);
const { contender } = await import(`./contenders/${name}.js`);
const { server, publish } = await contender(JSON.parse(options));

const delay = monitorEventLoopDelay({ resolution: 1 });
let peak = 0;
let sampling;

const commands = {
  /** Begins a measure: what was used before does not count. */
  begin() {
    globalThis.gc();
    delay.reset();
    delay.enable();
    peak = process.memoryUsage.rss();
    sampling = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
    const { heapUsed, external, rss } = process.memoryUsage();
    return { cpu: process.cpuUsage(), memory: heapUsed + external, rss };
  },
  /** Ends it: CPU in µs, memory that is held, the highest resident size, the longest block in ms. */
  end(begun) {
    const { user, system } = process.cpuUsage(begun.cpu);
    const block = delay.max / 1e6;
    delay.disable();
    clearInterval(sampling);
    peak = Math.max(peak, process.memoryUsage.rss());
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    return { cpu: user + system, memory: heapUsed + external - begun.memory, peak: peak - begun.rss, block };
  },
  publishes: () => publish !== undefined,
  publish(n) {
    const at = process.hrtime.bigint();
    void publish(n);
    return String(at);
  },
  connections: () => new Promise((resolve) => server.getConnections((error, count) => resolve(count))),
};

process.on("message", async ({ id, command, argument }) => {
  process.send({ id, result: await commands[command](argument) });
});
process.on("disconnect", () => process.exit());

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => process.send({ ready: server.address().port }));
