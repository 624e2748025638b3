// An OpenAI-compatible chat completion that survives a reload: requests with one X-Answer-Id share one answer.
//
//     curl -N http://localhost:3000/v1/chat/completions -H "X-Answer-Id: 7" --json '{ "stream": true, "messages": [{ "role": "user", "content": "Why is the sky blue?" }] }'
//     curl -X POST http://localhost:3000/v1/answers/7/stop
//
// With the client: client.chat.completions.create({ stream: true, … }, { headers: { "X-Answer-Id": "7" } });
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";
import type { ChatCompletionChunk, ChatCompletionMessageParam } from "openai/resources/chat/completions";
import { lease, openBroker } from "./broker.js";
import { model } from "./model.js";

const broker = await openBroker();
const app = express();

async function* completion(
  id: string,
  prompt: string,
  signal: AbortSignal,
): AsyncGenerator<{ data: ChatCompletionChunk }> {
  const created = Math.floor(Date.now() / 1_000);
  const chunk = (content: string, finish_reason: "stop" | null): { data: ChatCompletionChunk } => ({
    data: {
      id,
      object: "chat.completion.chunk",
      created,
      model: "example",
      choices: [{ index: 0, delta: { content }, finish_reason }],
    },
  });
  for await (const word of model.answer(prompt, signal)) yield chunk(word, null);
  yield chunk("", "stop");
}

/** The client sends no last event ID, so a client that asks again reads the answer from its start. */
async function* answerFromStart(channel: string, signal: AbortSignal) {
  for await (const { event, data } of await broker.subscribe(channel, { from: "start", signal })) {
    // The producer failed, died, or wrote more than the history holds. The client throws for an `error`.
    const isBroken = event === "failed" || event === "lost" || event === "gap";
    yield { data: isBroken ? { error: { message: "The answer could not be finished.", code: event } } : data };
    if (isBroken) return;
  }
  yield { data: "[DONE]" };
}

app.post("/v1/chat/completions", express.json(), async (req, res, next) => {
  const id = req.get("X-Answer-Id") ?? randomUUID();
  const { messages } = req.body as { messages: ChatCompletionMessageParam[] };
  const channel = `answer:${id}`;
  const prompt = String(messages.at(-1)?.content);
  const run = await broker.produce(channel, ({ signal }) => completion(id, prompt, signal), { lease });
  run?.done.catch((error) => console.log("the model failed: %s", error));
  await eventSource((_req, { signal }) => answerFromStart(channel, signal))(req, res, next);
});

app.post("/v1/answers/:id/stop", async (req, res) => {
  res.json({ stopped: await broker.stop(`answer:${req.params.id}`) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/v1", (server.address() as AddressInfo).port);
});
