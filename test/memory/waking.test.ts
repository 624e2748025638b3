import express from "express";
import { eventSource, memoryBroker, type PublishedEvent } from "express-event-source";
import { describe, expect, it } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";
import { freshTurn, until } from "../support/stage.js";

// A stream that is woken runs code of the application. Whatever that does, every stream gets every event, in order.

interface Message {
  readonly data: number;
}

const isEvent = (event: PublishedEvent<Message>): event is PublishedEvent<Message> & Message => event.event !== "gap";

async function room(count: number, toEvent: (event: PublishedEvent<Message>, n: number) => PublishedEvent<Message>) {
  const broker = memoryBroker<Message>();
  let opened = 0;
  const closed: string[] = [];
  const passedOn: Error[] = [];
  const app = express().get("/", (req, res, next) => {
    const n = opened++;
    return eventSource((_req, stream) => broker.subscribe("room", stream), {
      toEvent: (event) => toEvent(event, n),
      onClose: ({ reason }) => closed.push(reason),
    })(req, res, next);
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

const numbers = ({ body }: RawClient): number[] =>
  [...body.matchAll(/data: (\d+)/g)].map(([, digits]) => Number(digits));

describe("a loop that publishes to the channel that it reads", () => {
  it("lets the event loop turn", async () => {
    const broker = memoryBroker<Message>();
    const subscription = await broker.subscribe("room");
    await broker.publish("room", { data: 0 });
    let turns = 0;
    const count = (): void => {
      turns += 1;
      if (turns < 3) setImmediate(count);
      else void broker.close();
    };
    setImmediate(count);
    // Ends a loop that never turns: no machine reads so much in three turns.
    const limit = 200_000;
    let read = 0;
    for await (const event of subscription)
      if (isEvent(event) && ++read < limit) await broker.publish("room", { data: read });
    expect(read).toBeLessThan(limit);
  });
});

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

  it("may end the channel: all get what was published before", async () => {
    const { broker, clients } = await room(4, (event, n) => {
      if (n === 1) void broker.end("room");
      return event;
    });
    await broker.publish("room", { data: 1 });
    await Promise.all(clients.map((client) => client.until("0\r\n\r\n")));
    expect(clients.map(numbers)).toEqual(clients.map(() => [1]));
    await broker.close();
  });

  it("may close the broker: all end, the woken ones whose turn has not come without the event", async () => {
    const { broker, clients } = await room(4, (event, n) => {
      if (n === 2) void broker.close();
      return event;
    });
    await broker.publish("room", { data: 1 });
    await Promise.all(clients.map((client) => client.until("0\r\n\r\n")));
    expect(clients.slice(0, 3).map(numbers)).toEqual([[1], [1], [1]]);
  });
});

describe("a burst that is longer than the history", () => {
  const values = async (...publishing: ((broker: ReturnType<typeof memoryBroker<Message>>) => Promise<number>)[]) => {
    const broker = memoryBroker<Message>({ history: { maxEvents: 3 } });
    const { port } = await serve(
      express()
        .get(
          "/direct",
          eventSource((_req, stream) => broker.subscribe("room", stream)),
        )
        .get(
          "/generator",
          eventSource(async function* (_req, stream) {
            yield* await broker.subscribe("room", stream);
          }),
        ),
    );
    const clients = ["/direct", "/generator"].map((path) => new RawClient(port).request("GET", path));
    await Promise.all(clients.map((client) => client.until("\r\n\r\n")));
    for (const publish of publishing) {
      const last = await publish(broker);
      await Promise.all(clients.map((client) => client.until(`data: ${last}\n`)));
    }
    await broker.close();
    return clients.map(numbers);
  };

  it("reaches who waits in full, published in one run or one after the other", async () => {
    const inOneRun = async (broker: ReturnType<typeof memoryBroker<Message>>) => {
      await Promise.all([1, 2, 3, 4, 5, 6].map((data) => broker.publish("room", { data })));
      return 6;
    };
    const oneByOne = async (broker: ReturnType<typeof memoryBroker<Message>>) => {
      for (const data of [7, 8, 9]) await broker.publish("room", { data });
      return 9;
    };
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect(await values(inOneRun, oneByOne)).toEqual([all, all]);
  });

  it("reaches who waits in full, published in the tick before the log is trimmed for the event before", async () => {
    const all = [1, 2, 3, 4, 5, 6, 7];
    const inTheNextTick = async (broker: ReturnType<typeof memoryBroker<Message>>) => {
      // Were the allowance spent, the first would wait with the others, and together they are more than are held.
      await freshTurn();
      const first = broker.publish("room", { data: 1 });
      process.nextTick(() => all.slice(1).forEach((data) => void broker.publish("room", { data })));
      await first;
      return 7;
    };
    expect(await values(inTheNextTick)).toEqual([all, all]);
  });

  it("reaches more streams in full than are served in one tick", async () => {
    const broker = memoryBroker<Message>({ history: { maxEvents: 2 } });
    const { port } = await serve(
      express().get(
        "/",
        eventSource((_req, stream) => broker.subscribe("room", stream)),
      ),
    );
    const clients = Array.from({ length: 100 }, () => new RawClient(port).request("GET", "/"));
    await Promise.all(clients.map((client) => client.until("\r\n\r\n")));
    await Promise.all([1, 2, 3, 4].map((data) => broker.publish("room", { data })));
    await Promise.all(clients.map((client) => client.until("data: 4\n")));
    expect(clients.filter((client) => numbers(client).join() !== "1,2,3,4")).toHaveLength(0);
    await broker.close();
  });

  it("reaches a stream in full that takes a whole turn for each event", async () => {
    const broker = memoryBroker<Message>({ history: { maxEvents: 3 } });
    const work = (event: PublishedEvent<Message>) => {
      const end = performance.now() + 5;
      while (performance.now() < end);
      return event;
    };
    const { port } = await serve(
      express()
        .get(
          "/busy",
          eventSource((_req, stream) => broker.subscribe("room", stream), { toEvent: work }),
        )
        .get(
          "/",
          eventSource((_req, stream) => broker.subscribe("room", stream)),
        ),
    );
    const clients: RawClient[] = [];
    for (const path of ["/busy", "/", "/busy"]) {
      const client = new RawClient(port).request("GET", path);
      await client.until("\r\n\r\n");
      clients.push(client);
    }
    const all = [1, 2, 3, 4, 5, 6];
    await Promise.all(all.map((data) => broker.publish("room", { data })));
    await Promise.all(clients.map((client) => client.until("data: 6\n")));
    expect(clients.map(numbers)).toEqual([all, all, all]);
    await broker.close();
  });
});

describe("a subscription that is read by hand and then given to eventSource", () => {
  it("gives each event once, to whoever asked first", async () => {
    const broker = memoryBroker<Message>();
    let first: Promise<IteratorResult<PublishedEvent<Message>>> | undefined;
    const { port } = await serve(
      express().get(
        "/",
        eventSource(async (_req, stream) => {
          const subscription = await broker.subscribe("room", stream);
          first = subscription[Symbol.asyncIterator]().next();
          return subscription;
        }),
      ),
    );
    const client = new RawClient(port).request("GET", "/");
    await client.until("\r\n\r\n");
    await broker.publish("room", { data: 1 });
    await broker.publish("room", { data: 2 });
    await client.until("data: 2");
    expect((await first)?.value).toMatchObject({ data: 1 });
    expect(numbers(client)).toEqual([2]);
    await broker.close();
  });
});

describe("a next() that throws", () => {
  it("harms no stream that waits for the same event", async () => {
    const uncaught: unknown[] = [];
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", (error) => uncaught.push(error));
    const broker = memoryBroker<Message>();
    const app = express();
    app.use((req, res, next) => {
      if (req.query["fails"] !== undefined) {
        res.write = () => {
          throw new Error("write fails");
        };
      }
      next();
    });
    app.get("/", (req, res) => {
      void eventSource((_req, stream) => broker.subscribe("room", stream))(req, res, (error: unknown) => {
        throw error;
      });
    });
    const { port } = await serve(app);
    const failing = new RawClient(port).request("GET", "/?fails");
    await failing.until("\r\n\r\n");
    const client = new RawClient(port).request("GET", "/");
    await client.until("\r\n\r\n");
    await broker.publish("room", { data: 1 });
    await broker.publish("room", { data: 2 });
    await client.until("data: 2");
    await until(() => uncaught.length > 0);
    process.removeAllListeners("uncaughtException");
    for (const listener of others) process.on("uncaughtException", listener);
    expect(uncaught).toEqual([expect.objectContaining({ message: "write fails" })]);
    expect(numbers(client)).toEqual([1, 2]);
    await broker.close();
  });
});
