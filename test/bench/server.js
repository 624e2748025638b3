import { monitorEventLoopDelay } from "node:perf_hooks";

/** One contender in a process of its own: `node --expose-gc server.js NAME '{"pingInterval":…,"library":…}'`. */
const [name, options] = process.argv.slice(2);
const { contender } = await import(`./contenders/${name}.js`);
const { server, publish, fill } = await contender(JSON.parse(options));

const delay = monitorEventLoopDelay({ resolution: 1 });
let peak = 0;
let sampling;

const commands = {
  /**
   * The memory that is held, in bytes, after a collection. For rounds that measure memory alone: together with the last
   * object of its kind V8 drops all code that was optimized for it, and a server whose streams have all gone would be cold again.
   */
  memory() {
    globalThis.gc();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  },
  /** Begins a measure: what was used before does not count. */
  begin() {
    delay.reset();
    delay.enable();
    const rss = process.memoryUsage.rss();
    peak = rss;
    sampling = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
    return { cpu: process.cpuUsage(), rss };
  },
  /** Ends it: CPU in µs, by how much the resident size grew at its highest, the longest block in ms. */
  end(begun) {
    const { user, system } = process.cpuUsage(begun.cpu);
    const block = delay.max / 1e6;
    delay.disable();
    clearInterval(sampling);
    peak = Math.max(peak, process.memoryUsage.rss());
    return { cpu: user + system, peak: peak - begun.rss, block };
  },
  publishes: () => publish !== undefined,
  publish(n) {
    const at = process.hrtime.bigint();
    void publish(n);
    return String(at);
  },
  /** Publishes so many events one after the other and answers with their ids. */
  fill: (count) => fill(count),
  /** Closes the server: the milliseconds until its last connection is gone. */
  close() {
    const began = performance.now();
    return new Promise((resolve) => server.close(() => resolve(performance.now() - began)));
  },
  connections: () => new Promise((resolve) => server.getConnections((error, count) => resolve(count))),
};

process.on("message", async ({ id, command, argument }) => {
  process.send({ id, result: await commands[command](argument) });
});
process.on("disconnect", () => process.exit());

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => process.send({ ready: server.address().port }));
