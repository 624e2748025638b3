// An LLM's answer that survives a reload: the model writes into a channel, and any number of clients read it,
// each from where it was. When the answer is complete and read, or gone, the reply is 204.
//
//     curl -i http://localhost:3000/answers --json '{ "prompt": "Why is the sky blue?" }'
//     curl -N http://localhost:3000/answers/<id>
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource, memoryBroker, type PublishedEvent } from "express-event-source";

const broker = memoryBroker();
const app = express();

/** Stands for the stream of a model's SDK. */
async function* answer(prompt: string) {
  for (const word of `You asked: ${prompt} It scatters.`.split(/(?<= )/)) {
    yield { event: "token", data: { text: word } };
    await sleep(50);
  }
}

app.post("/answers", express.json(), async (req, res) => {
  const name = randomUUID();
  const channel = `answer:${name}`;
  const prompt = String(req.body.prompt);
  const asked = await broker.publish(channel, { event: "asked", data: { prompt } });
  // Not awaited: the model goes on whoever listens. publishAll ends the channel after the last token.
  broker.publishAll(channel, answer(prompt)).catch(async (error: Error) => {
    console.log("the model failed: %s", error.message);
    await broker.publish(channel, { event: "failure", data: { message: "The answer could not be finished." } });
    await broker.end(channel);
  });
  const id = `${name}.${asked}`;
  res.status(202).location(`/answers/${id}`).json({ id });
});

// Who has nothing yet begins after the first event. Where the channel does not hold it, because the answer is forgotten, the
// server has started anew, or the address is made up, the broker says "gap" at once, and a stream that is over before its
// first event is 204. A subscription from the start would wait: to a broker, any channel may still be written to.
app.get(
  "/answers/:id",
  eventSource<{ id: string }>(async (req, stream) => {
    const [channel, asked] = req.params.id.split(".");
    const { lastEventId = asked || "unknown" } = stream;
    const events = await broker.subscribe(`answer:${channel}`, { ...stream, lastEventId });
    return stream.lastEventId === undefined ? untilGap(events) : events;
  }),
);

async function* untilGap(events: AsyncIterable<PublishedEvent>) {
  for await (const event of events) {
    if (event.id === undefined) return;
    yield event;
  }
}

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/answers", (server.address() as AddressInfo).port);
});
