import { connect } from "node:net";
import { MARK } from "./event.js";

/** The clients of one contender, all in one process: plain sockets that count events and look at nothing else. `node client.js NUMBER` */
const number = Number(process.argv[2]);
const mark = MARK.charCodeAt(0);
const buffer = Buffer.allocUnsafe(65_536);

/** The sockets that stay open between two commands. */
let open = [];
let arrived = () => {};

function count(length, bytes) {
  let events = 0;
  for (let at = bytes.indexOf(mark); at !== -1 && at < length; at = bytes.indexOf(mark, at + 1)) events += 1;
  return events;
}

/** One request on a connection of its own. `received(events, bytes)` is called for each read. */
function request(port, path, received, source, header = "") {
  const socket = connect({
    port,
    host: "127.0.0.1",
    ...(source === undefined ? {} : { localAddress: source }),
    onread: { buffer, callback: (length, bytes) => received(count(length, bytes), length) ?? true },
  });
  socket.on("error", (error) => {
    process.stderr.write(`${path}: ${error.message}\n`);
    process.exit(1);
  });
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nConnection: close\r\n${header}\r\n`,
  );
  return socket;
}

const commands = {
  /** Reads `streams` streams of so many `events` at once, each to its last event. The milliseconds it took. */
  drain({ port, streams, events, kind }) {
    const began = process.hrtime.bigint();
    let left = streams;
    return new Promise((resolve, reject) => {
      for (let n = 0; n < streams; n++) {
        let seen = 0;
        const socket = request(port, `/ready?kind=${kind}&count=${events}`, (more) => {
          seen += more;
          // Some contenders keep the connection alive after the last one.
          if (seen >= events) socket.destroy();
        });
        socket.on("close", () => {
          if (seen !== events) reject(new Error(`${seen} events came instead of ${events}`));
          if (--left === 0) resolve(Number(process.hrtime.bigint() - began) / 1e6);
        });
      }
    });
  },

  /** Opens streams that stay, a hundred at a time, and resolves when each has its head. */
  async hold({ port, streams, path }) {
    while (open.length < streams) {
      const batch = Math.min(100, streams - open.length);
      await Promise.all(
        Array.from({ length: batch }, (_, n) => {
          // A source address has some 28,000 ports.
          const source = `127.0.${number}.${1 + Math.floor((open.length + n) / 5_000)}`;
          return new Promise((resolve) => {
            const socket = request(
              port,
              path,
              (events) => {
                resolve();
                if (events > 0) arrived(events);
              },
              source,
            );
            open.push(socket);
          });
        }),
      );
    }
  },

  /** Waits for one event on each open stream: when each came, as nanoseconds of the system's clock. */
  arm() {
    const times = [];
    commands.arrival = new Promise((resolve) => {
      arrived = (events) => {
        const now = process.hrtime.bigint();
        for (let n = 0; n < events; n++) times.push(now);
        if (times.length >= open.length) resolve(times);
      };
    });
  },

  /** The milliseconds that each client waited, in order. */
  async waits(published) {
    const times = await commands.arrival;
    const at = BigInt(published);
    return times.map((time) => Number(time - at) / 1e6).sort((a, b) => a - b);
  },

  /**
   * Opens streams that resume, evenly spread over `within` milliseconds, each after one of the first half of `ids`.
   * Resolves when each has had everything after its own: the milliseconds it took.
   */
  async resume({ port, streams, ids, within }) {
    const began = performance.now();
    await Promise.all(
      Array.from({ length: streams }, async (_, n) => {
        await new Promise((resolve) => setTimeout(resolve, (n * within) / streams));
        const after = n % (ids.length / 2);
        let left = ids.length - 1 - after;
        const source = `127.0.${number}.${1 + Math.floor(n / 5_000)}`;
        await new Promise((resolve) => {
          const more = (events) => {
            left -= events;
            if (left <= 0) resolve();
          };
          open.push(request(port, "/room", more, source, `Last-Event-ID: ${ids[after]}\r\n`));
        });
      }),
    );
    return performance.now() - began;
  },

  /** Opens streams that read nothing at all. */
  async stall({ port, streams, events }) {
    for (let n = 0; n < streams; n++) {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => {});
      socket.pause();
      socket.write(`GET /ready?count=${events} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n`);
      open.push(socket);
    }
  },

  async release() {
    const sockets = open;
    open = [];
    arrived = () => {};
    await Promise.all(
      sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve).resetAndDestroy())),
    );
  },

  /** Connects, waits for the first event, leaves: `times` in all, `atOnce` at a time. The milliseconds it took. */
  churn({ port, times, atOnce }) {
    const began = process.hrtime.bigint();
    let started = 0;
    let left = times;
    return new Promise((resolve, reject) => {
      const next = () => {
        if (started === times) return;
        started += 1;
        let seen = 0;
        const socket = request(port, "/hello", (events) => {
          seen += events;
          // Leaving as browsers do it when a tab is closed, without a handshake, and no port is left waiting.
          if (seen > 0) socket.resetAndDestroy();
        });
        socket.on("close", () => {
          if (seen === 0) reject(new Error("a stream ended before its first event"));
          if (--left === 0) resolve(Number(process.hrtime.bigint() - began) / 1e6);
          else next();
        });
      };
      for (let n = 0; n < atOnce; n++) next();
    });
  },
};

process.on("message", async ({ id, command, argument }) => {
  try {
    process.send({ id, result: await commands[command](argument) });
  } catch (error) {
    process.send({ id, error: error.message });
  }
});
process.on("disconnect", () => process.exit());
process.send({ ready: true });
