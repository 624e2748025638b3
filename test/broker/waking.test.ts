import express from "express";
import { eventSource, memoryBroker, type PublishedEvent } from "express-event-source";
import { describe, expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { until } from "../support/stage.js";

// A stream that is woken runs code of the application. Whatever that does, every stream gets every event, in order.

interface Message { readonly data: number }

const isEvent = (event: PublishedEvent<Message>): event is PublishedEvent<Message> & Message => event.event !== "gap";

async function room(count: number, toEvent: (event: PublishedEvent<Message>, n: number) => PublishedEvent<Message>) {
  const broker = memoryBroker<Message>();
  let opened = 0;
  const closed: string[] = [];
  const passedOn: Error[] = [];
  const app = express().get("/", (req, res, next) => {
    const n = opened++;
    return eventSource((_req, stream) => broker.subscribe("room", stream), { toEvent: (event) => toEvent(event, n), onClose: ({ reason }) => closed.push(reason) })(req, res, next);
  });
  app.use(((error: Error, _req, _res, _next) => passedOn.push(error)) satisfies express.ErrorRequestHandler);
  const { port } = await serve(app);
  const clients: RawClient[] = [];
  for (let n = 0; n < count; n++) {
    const client = new RawClient(port).request("GET", "/");
    await client.until("\r\n\r\n");
    clients.push(client);
  }
  return { broker, clients, closed, passedOn };
}

const numbers = ({ body }: RawClient): number[] => [...body.matchAll(/data: (\d+)/g)].map(([, digits]) => Number(digits));

describe("a stream that is woken", () => {
  it("may publish: all get both events, in one order", async () => {
    const { broker, clients } = await room(5, (event, n) => {
      if (n === 0 && isEvent(event) && event.data === 1) void broker.publish("room", { data: 2 });
      return event;
    });
    await broker.publish("room", { data: 1 });
    await Promise.all(clients.map((client) => client.until("data: 2")));
    expect(clients.map(numbers)).toEqual(clients.map(() => [1, 2]));
    await broker.close();
  });

  it("runs none of the application's code inside of publish()", async () => {
    let isPublishing = false;
    const inside: boolean[] = [];
    const { broker, clients } = await room(2, (event) => (inside.push(isPublishing), event));
    isPublishing = true;
    const published = broker.publish("room", { data: 1 });
    isPublishing = false;
    await published;
    await Promise.all(clients.map((client) => client.until("data: 1")));
    expect(inside).toEqual([false, false]);
    await broker.close();
  });

  it("may fail: the others and the publisher know nothing of it", async () => {
    const { broker, clients, closed, passedOn } = await room(3, (event, n) => {
      if (n === 1) throw new Error("not this one");
      return event;
    });
    await broker.publish("room", { data: 1 });
    await clients[1]?.ended();
    await Promise.all([clients[0]?.until("data: 1"), clients[2]?.until("data: 1")]);
    await until(() => closed.length === 1);
    expect(closed).toEqual(["error"]);
    expect(passedOn.map(({ message }) => message)).toEqual(["not this one"]);
    await broker.publish("room", { data: 2 });
    await Promise.all([clients[0]?.until("data: 2"), clients[2]?.until("data: 2")]);
    await broker.close();
  });

  it("may end the channel, and close the broker: all get what was published before", async () => {
    const { broker, clients } = await room(4, (event, n) => {
      if (n === 1) void broker.end("room");
      if (n === 2) void broker.close();
      return event;
    });
    await broker.publish("room", { data: 1 });
    await Promise.all(clients.map((client) => client.until("0\r\n\r\n")));
    expect(clients.map(numbers)).toEqual(clients.map(() => [1]));
  });
});
