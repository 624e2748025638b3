import { eventData, readyEvents } from "../event.js";
import { expressServer } from "./express.js";

export async function contender({ pingInterval, library }) {
  const { eventSource, memoryBroker } = await import(library);
  const broker = memoryBroker?.();
  const options = { pingInterval };

  const server = expressServer({
    "/ready": eventSource((req) => readyEvents(Number(req.query.count)), options),
    "/hello": eventSource(async function* (req, { signal }) {
      yield { data: eventData(0) };
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }, options),
    "/room": eventSource((req, stream) => (broker === undefined ? silence : broker.subscribe("room", stream)), options),
  });
  return {
    server,
    ...(broker === undefined ? {} : { publish: (n) => broker.publish("room", { data: eventData(n) }) }),
    fill: (count) =>
      Promise.all(Array.from({ length: count }, (_, n) => broker.publish("room", { data: eventData(n) }))),
  };
}

const silence = {
  [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
};
