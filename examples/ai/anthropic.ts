// Messages with Anthropic's event names that survive a reload: requests with one X-Answer-Id share one answer.
//
//     curl -N http://localhost:3000/v1/messages -H "X-Answer-Id: 7" --json '{ "stream": true, "messages": [{ "role": "user", "content": "Why is the sky blue?" }] }'
//     curl -X POST http://localhost:3000/v1/answers/7/stop
//
// With the client: client.messages.stream({ … }, { headers: { "X-Answer-Id": "7" } });
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import type { MessageParam, RawMessageStreamEvent } from "@anthropic-ai/sdk/resources/messages";
import express from "express";
import { eventSource } from "express-event-source";
import { lease, openBroker } from "./broker.js";
import { model } from "./model.js";

const broker = await openBroker();
const app = express();

/** As much of a message as the client reads. */
const usage = { input_tokens: 0, output_tokens: 0 };
const begun = (id: string) => ({
  id,
  type: "message",
  role: "assistant",
  model: "example",
  content: [],
  stop_reason: null,
  stop_sequence: null,
  usage,
});

/** Anthropic's events carry their type twice: as the event's name, and in the data. */
const named = (data: { type: RawMessageStreamEvent["type"] } & Record<string, unknown>) => ({ event: data.type, data });

async function* message(id: string, prompt: string, signal: AbortSignal) {
  yield named({ type: "message_start", message: begun(id) });
  yield named({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } });
  for await (const text of model.answer(prompt, signal)) {
    yield named({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
  }
  yield named({ type: "content_block_stop", index: 0 });
  yield named({ type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage });
  yield named({ type: "message_stop" });
}

/** The client sends no last event ID, so a client that asks again reads the answer from its start. */
async function* answerFromStart(channel: string, signal: AbortSignal) {
  let last: string | undefined;
  for await (const { event, data } of await broker.subscribe(channel, { from: "start", signal })) {
    // The producer failed, died, or wrote more than the history holds.
    if (event === "failed" || event === "lost" || event === "gap") {
      yield apiError("The answer could not be finished.");
      return;
    }
    last = event;
    yield { event, data };
  }
  if (last !== "message_stop") yield apiError("The answer was stopped.");
}

/** The client throws for this event. An EventSource in a page would take it for a lost connection. */
const apiError = (text: string) => ({
  event: "error",
  data: { type: "error", error: { type: "api_error", message: text } },
});

app.post("/v1/messages", express.json(), async (req, res, next) => {
  const id = req.get("X-Answer-Id") ?? randomUUID();
  const { messages } = req.body as { messages: MessageParam[] };
  const channel = `answer:${id}`;
  const prompt = String(messages.at(-1)?.content);
  const run = await broker.produce(channel, ({ signal }) => message(id, prompt, signal), { lease });
  run?.done.catch((error) => console.log("the model failed: %s", error));
  await eventSource((_req, { signal }) => answerFromStart(channel, signal))(req, res, next);
});

app.post("/v1/answers/:id/stop", async (req, res) => {
  res.json({ stopped: await broker.stop(`answer:${req.params.id}`) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d", (server.address() as AddressInfo).port);
});
