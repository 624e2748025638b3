// An AG-UI agent whose runs survive a reload: requests with one runId share one run.
//
//     curl -N http://localhost:3000/agent --json '{ "threadId": "1", "runId": "7", "messages": [{ "id": "1", "role": "user", "content": "Why is the sky blue?" }] }'
//     curl -X POST http://localhost:3000/agent/7/stop
//
// With the client: new HttpAgent({ url: "http://localhost:3000/agent" }).runAgent({ runId: "7" });
import type { AddressInfo } from "node:net";
import { EventType, type RunAgentInput } from "@ag-ui/client";
import express from "express";
import { eventSource } from "express-event-source";
import { lease, openBroker } from "./broker.js";
import { model } from "./model.js";

const broker = await openBroker();
const app = express();

async function* events({ threadId, runId, messages }: RunAgentInput, signal: AbortSignal) {
  const messageId = `answer-${runId}`;
  const prompt = String(messages.at(-1)?.content);
  yield { data: { type: EventType.RUN_STARTED, threadId, runId } };
  yield { data: { type: EventType.TEXT_MESSAGE_START, messageId, role: "assistant" } };
  for await (const delta of model.answer(prompt, signal)) {
    yield { data: { type: EventType.TEXT_MESSAGE_CONTENT, messageId, delta } };
  }
  yield { data: { type: EventType.TEXT_MESSAGE_END, messageId } };
  yield { data: { type: EventType.RUN_FINISHED, threadId, runId } };
}

/** The client sends no last event ID, so a client that asks again reads the run from its start. */
async function* runFromStart(channel: string, signal: AbortSignal) {
  let last: unknown;
  for await (const { event, data } of await broker.subscribe(channel, { from: "start", signal })) {
    // The producer failed, died, or wrote more than the history holds.
    if (event === "failed" || event === "lost" || event === "gap") {
      yield runError("The run could not be finished.");
      return;
    }
    last = (data as { type: EventType }).type;
    yield { data };
  }
  if (last !== EventType.RUN_FINISHED) yield runError("The run was stopped.");
}

const runError = (message: string) => ({ data: { type: EventType.RUN_ERROR, message } });

app.post("/agent", express.json(), async (req, res, next) => {
  const input = req.body as RunAgentInput;
  const channel = `run:${input.runId}`;
  const run = await broker.produce(channel, ({ signal }) => events(input, signal), { lease });
  run?.done.catch((error) => console.log("the model failed: %s", error));
  await eventSource((_req, { signal }) => runFromStart(channel, signal))(req, res, next);
});

app.post("/agent/:runId/stop", async (req, res) => {
  res.json({ stopped: await broker.stop(`run:${req.params.runId}`) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/agent", (server.address() as AddressInfo).port);
});
