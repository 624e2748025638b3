import { createServer } from "node:http";
import { createEventStream, H3, toNodeHandler } from "h3";
import { asked, makers, readyItems } from "../event.js";

/** It has neither pings nor a broadcast: both are written with `push`, as its guide has them. */
export function contender({ pingInterval }) {
  const app = new H3();
  const room = new Set();

  const hold = (stream) => {
    const pings = setInterval(() => void stream.pushComment("ping"), pingInterval);
    room.add(stream);
    stream.onClosed(() => {
      clearInterval(pings);
      room.delete(stream);
    });
  };

  app.get("/ready", (event) => {
    const stream = createEventStream(event);
    void (async () => {
      for await (const item of readyItems(...asked(Object.fromEntries(event.url.searchParams))))
        await stream.push(messageOf(item));
      await stream.close();
    })();
    return stream;
  });
  app.get("/hello", (event) => {
    const stream = createEventStream(event);
    void stream.push(messageOf(makers.event(0)));
    hold(stream);
    return stream;
  });
  app.get("/room", (event) => {
    const stream = createEventStream(event);
    // Its head waits for the first write.
    void stream.pushComment("open");
    hold(stream);
    return stream;
  });

  return {
    server: createServer(toNodeHandler(app)),
    publish(n) {
      const message = messageOf(makers.event(n));
      for (const stream of room) void stream.push(message);
    },
  };
}

/** Its data and its ID are text: it drops a number. */
function messageOf(item) {
  if (typeof item === "string") return item;
  const { event, id, data } = item;
  return { data: JSON.stringify(data), event, id: id === undefined ? undefined : String(id) };
}
