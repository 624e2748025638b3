// Clients that come and go at random, in a process of their own: what they hold is not the server's.
//     node test/soak/clients.js PORT COUNT PATHS
import { connect } from "node:net";
import { argv } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const [port, count, paths] = argv.slice(2).map(Number);

const upTo = (limit) => Math.floor(Math.random() * limit);
const oneOf = (choices) => choices[upTo(choices.length)];

const request = () => {
  const body = oneOf(["", "", "a body"]);
  return `${oneOf(["GET", "GET", "POST"])} /${upTo(paths)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};

/** Reads, reads now and then, or stops reading; and then leaves, in one way or another. */
async function client() {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {});
  socket.on("data", () => {});
  const gone = new Promise((resolve) => socket.on("close", resolve));
  socket.write(request());
  const style = oneOf(["reads", "stops", "stutters"]);
  if (style === "stops") socket.pause();
  for (let rounds = upTo(8); rounds > 0 && !socket.destroyed; rounds--) {
    await sleep(upTo(20));
    if (style === "stutters") socket.isPaused() ? socket.resume() : socket.pause();
  }
  oneOf([
    () => socket.destroy(),
    () => socket.resetAndDestroy(),
    () => socket.resume().end(),
    () => {
      socket.write(request());
      socket.destroySoon();
    },
  ])();
  await gone;
}

let left = count;
await Promise.all(
  Array.from({ length: 25 }, async () => {
    while (left-- > 0) await client();
  }),
);
