import express from "express";
import { type Broker, eventSource, memoryBroker } from "express-event-source";
import { describe, expect, it, onTestFinished } from "vitest";
import { RawClient } from "../support/raw-client.js";
import { serve } from "../support/server.js";

async function stage(broker: Broker): Promise<(lastEventId?: string) => RawClient> {
  onTestFinished(() => broker.close());
  const app = express();
  app.get(
    "/:channel",
    eventSource((req, stream) => broker.subscribe(req.params.channel as string, { ...stream, from: "start" })),
  );
  const { port } = await serve(app);
  return (lastEventId) =>
    new RawClient(port).request("GET", "/answer", lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId });
}

const tokens = (body: string) => [...body.matchAll(/^data: "?(.*?)"?$/gm)].map((match) => match[1]);
const lastId = (body: string) => [...body.matchAll(/^id: (.*)$/gm)].at(-1)?.[1];

describe("a broker's channel as an event stream", () => {
  it("answers 400 to a name that no channel can have", async () => {
    const broker = memoryBroker();
    onTestFinished(() => broker.close());
    const app = express();
    app.get(
      "/:channel",
      eventSource((req, stream) => broker.subscribe(req.params.channel as string, stream)),
    );
    app.use(((error: { status?: number }, _req, res, _next) => {
      res.status(error.status ?? 500).end();
    }) satisfies express.ErrorRequestHandler);
    const { url } = await serve(app);
    expect((await fetch(`${url}/${"x".repeat(10_000)}`)).status).toBe(400);
  });

  it("gives a client that drops in the middle every event once, then 204", async () => {
    const broker = memoryBroker();
    const get = await stage(broker);
    await broker.publish("answer", { data: "one" });
    await broker.publish("answer", { data: "two" });
    const first = get();
    await first.until("two");
    first.socket.destroy();

    await broker.publish("answer", { data: "three" });
    const second = get(lastId(first.body));
    await second.until("three");
    await broker.publish("answer", { data: "four" });
    await broker.end("answer");
    await second.until("\r\n0\r\n");
    expect([...tokens(first.body), ...tokens(second.body)]).toEqual(["one", "two", "three", "four"]);

    expect(await get(lastId(second.body)).until("\r\n\r\n")).toMatch(/^HTTP\/1\.1 204 /);
  });

  it("says a gap on the wire, without an id, to a client from another run", async () => {
    const broker = memoryBroker();
    const get = await stage(broker);
    const id = await broker.publish("answer", { data: "held" });
    const client = get("0123456789ab-7");
    await client.until("held");
    expect(client.body).toBe(`event: gap\ndata: {"lastEventId":"0123456789ab-7"}\n\nid: ${id}\ndata: held\n\n`);
  });

  it("lets the subscription go when the client leaves, and ends all streams when it closes", async () => {
    const broker = memoryBroker();
    const get = await stage(broker);
    const [leaving, staying] = [get(), get()];
    await broker.publish("answer", { data: "hello" });
    await Promise.all([leaving.until("hello"), staying.until("hello")]);
    leaving.socket.destroy();
    await broker.publish("answer", { data: "still there" });
    await staying.until("still there");
    await broker.close();
    await staying.until("\r\n0\r\n");
  });

  it("can be filtered and rewritten by a generator in between, ids kept", async () => {
    const broker = memoryBroker<{ event: string; data: { n: number } }>();
    onTestFinished(() => broker.close());
    const app = express();
    app.get(
      "/",
      eventSource(async function* (_req, stream) {
        for await (const event of await broker.subscribe("a", { ...stream, from: "start" })) {
          if (event.id === undefined) yield event;
          else if (event.data.n % 2 === 0) yield { ...event, data: { half: event.data.n / 2 } };
        }
      }),
    );
    const { port } = await serve(app);
    const ids: string[] = [];
    for (let n = 1; n <= 4; n++) ids.push(await broker.publish("a", { event: "n", data: { n } }));
    const client = new RawClient(port).request("GET", "/");
    await client.until('"half":2');
    expect(client.body).toBe(
      `id: ${ids[1]}\nevent: n\ndata: {"half":1}\n\nid: ${ids[3]}\nevent: n\ndata: {"half":2}\n\n`,
    );
  });
});
