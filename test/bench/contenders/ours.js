import { asked, makers, readyItems } from "../event.js";
import { expressServer } from "./express.js";

export async function contender({ pingInterval, library }) {
  const { eventSource, memoryBroker } = await import(library);
  const broker = memoryBroker?.();
  const options = { pingInterval };

  /** The broker gives the IDs. */
  const publish = (n) => {
    const { event, data } = makers.event(n);
    return broker.publish("room", { event, data });
  };

  const server = expressServer({
    "/ready": eventSource((req) => readyItems(...asked(req.query)), options),
    "/hello": eventSource(async function* (req, { signal }) {
      yield makers.event(0);
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }, options),
    "/room": eventSource((req, stream) => (broker === undefined ? silence : broker.subscribe("room", stream)), options),
  });
  return {
    server,
    ...(broker === undefined ? {} : { publish }),
    fill: (count) => Promise.all(Array.from({ length: count }, (_, n) => publish(n))),
  };
}

const silence = {
  [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
};
