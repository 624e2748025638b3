/** One of several server processes behind one port. */
import { contender } from "./contenders/ours.js";

const { server } = await contender(JSON.parse(process.argv[2]));
let streams = 0;
server.on("connection", (socket) => {
  streams += 1;
  socket.on("close", () => (streams -= 1));
});
process.on("message", () => {
  globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  process.send({ figures: { streams, heap: heapUsed + external, resident: rss, cpu: user + system } });
});
process.on("disconnect", () => process.exit());
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => process.send({ port: server.address().port }));
