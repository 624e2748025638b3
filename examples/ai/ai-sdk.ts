// The AI SDK (`useChat`, DefaultChatTransport): an answer that survives a reload, a second tab, and its process.
//
//     curl -N http://localhost:3000/api/chat --json '{ "id": "7", "messages": [{ "id": "1", "role": "user", "parts": [{ "type": "text", "text": "Why is the sky blue?" }] }] }'
//     curl -N http://localhost:3000/api/chat/7/stream
//     curl -X DELETE http://localhost:3000/api/chat/7
//
// In the page: const chat = useChat({ id: "7", resume: true, transport: new DefaultChatTransport({ api: "/api/chat" }) });
import { createHash, randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import type { UIMessage, UIMessageChunk } from "ai";
import express from "express";
import { eventSource } from "express-event-source";
import { lease, openBroker } from "./broker.js";
import { model } from "./model.js";

const broker = await openBroker();
const app = express();
/** Stands for a column of the application's database: the channel of the answer that a chat is waiting for. */
const active = new Map<string, string>();

/** What the transport sends. */
interface ChatRequest {
  readonly id: string;
  readonly messages: UIMessage[];
  readonly trigger: "submit-message" | "regenerate-message";
}

async function* chunks(
  messageId: string,
  prompt: string,
  signal: AbortSignal,
): AsyncGenerator<{ data: UIMessageChunk }> {
  yield { data: { type: "start", messageId } };
  yield { data: { type: "text-start", id: "text" } };
  for await (const delta of model.answer(prompt, signal)) yield { data: { type: "text-delta", id: "text", delta } };
  yield { data: { type: "text-end", id: "text" } };
  yield { data: { type: "finish" } };
}

/** The transport sends no last event ID: it reads an answer from its start, and the SDK replaces what it had. */
async function* answerFromStart(channel: string, signal: AbortSignal) {
  let last: string | undefined;
  for await (const { event, data } of await broker.subscribe(channel, { from: "start", signal })) {
    // The producer failed, died, or wrote more than the history holds.
    const isBroken = event === "failed" || event === "lost" || event === "gap";
    const chunk = isBroken ? { type: "error", errorText: "The answer could not be finished." } : data;
    last = (chunk as UIMessageChunk).type;
    yield { data: chunk };
    if (isBroken) break;
  }
  if (last !== "finish" && last !== "error") yield { data: { type: "abort" } };
  yield { data: "[DONE]" };
}

const headers = { "x-vercel-ai-ui-message-stream": "v1" };

app.post("/api/chat", express.json(), async (req, res, next) => {
  const { id, messages, trigger } = req.body as ChatRequest;
  const question = messages.at(-1);
  const prompt = question?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";
  // One answer for each question, however often it is sent. An edited question has the same id and another text.
  const attempt = trigger === "regenerate-message" ? randomUUID() : createHash("sha256").update(prompt).digest("hex");
  const channel = `chat:${id}:${question?.id}:${attempt}`;
  const before = active.get(id);
  if (before !== undefined && before !== channel) await broker.stop(before); // a chat shows one answer at a time
  const run = await broker.produce(channel, ({ signal }) => chunks(channel, prompt, signal), { lease });
  if (run !== undefined) {
    active.set(id, channel);
    run.done
      .catch((error) => console.log("the model failed: %s", error))
      .finally(() => active.get(id) === channel && active.delete(id));
  }
  await eventSource((_req, { signal }) => answerFromStart(channel, signal), { headers })(req, res, next);
});

// 204 tells the transport that no answer is on its way.
app.get("/api/chat/:id/stream", (req, res, next) => {
  const channel = active.get(req.params.id);
  const source = eventSource((_req, { signal }) => (channel === undefined ? null : answerFromStart(channel, signal)), {
    headers,
  });
  return source(req, res, next);
});

// The SDK's own stop() only stops listening, so the page asks for this as well.
app.delete("/api/chat/:id", async (req, res) => {
  const channel = active.get(req.params.id);
  res.json({ stopped: channel !== undefined && (await broker.stop(channel)) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/api/chat", (server.address() as AddressInfo).port);
});
