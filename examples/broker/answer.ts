// An LLM's answer that survives a reload: the model writes into a channel, and any number of clients read it,
// each from where it was. When the answer is complete and read, the reply is 204.
//
//     curl -i http://localhost:3000/answers --json '{ "prompt": "Why is the sky blue?" }'
//     curl -N http://localhost:3000/answers/<id>
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource, memoryBroker } from "express-event-source";

const broker = memoryBroker();
const app = express();

/** Stands for the stream of a model's SDK. */
async function* answer(prompt: string) {
  for (const word of `You asked: ${prompt} It scatters.`.split(/(?<= )/)) {
    yield { event: "token", data: { text: word } };
    await sleep(50);
  }
}

app.post("/answers", express.json(), (req, res) => {
  const id = randomUUID();
  // Not awaited: the model goes on whoever listens. publishAll ends the channel after the last token.
  broker.publishAll(id, answer(String(req.body.prompt))).catch(async (error: Error) => {
    console.log("the model failed: %s", error.message);
    await broker.publish(id, { event: "failure", data: { message: "The answer could not be finished." } });
    await broker.end(id);
  });
  res.status(202).location(`/answers/${id}`).json({ id });
});

app.get("/answers/:id", eventSource<{ id: string }>((req, stream) =>
  broker.subscribe(req.params.id, { ...stream, from: "start" })));

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/answers", (server.address() as AddressInfo).port);
});
