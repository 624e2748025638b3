// A producer that calls back: put what it pushes into a ReadableStream. `cancel` is called when the client leaves.
//
//     curl -N http://localhost:3000/ticks
import { EventEmitter } from "node:events";
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource, type ServerSentEvent } from "express-event-source";

const app = express();
const clock = new EventEmitter<{ tick: [number] }>();
setInterval(() => clock.emit("tick", Date.now()), 200);

function ticks(): ReadableStream<ServerSentEvent> {
  let push: (time: number) => void;
  return new ReadableStream({
    start(controller) {
      // A tick that the client has no room for is worth nothing later: it is left out instead of queued.
      push = (time) => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue({ event: "tick", data: { time } });
      };
      clock.on("tick", push);
    },
    cancel() {
      clock.off("tick", push);
      console.log("listeners left: %d", clock.listenerCount("tick"));
    },
  });
}

app.get("/ticks", eventSource(ticks));

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/ticks", (server.address() as AddressInfo).port);
});
