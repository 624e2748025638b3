import express from "express";
import { eventSource, type EventSourceOptions, type EventStream } from "express-event-source";
import OpenAI, { APIError } from "openai";
import type { ChatCompletionChunk, ChatCompletionCreateParamsStreaming } from "openai/resources/chat/completions";
import { expect, test } from "vitest";
import { serve } from "../support/server.js";
import { Gate, until } from "../support/stage.js";

type Item = { data: ChatCompletionChunk | "[DONE]" };

const chunk = (content: string): Item => ({
  data: {
    id: "chatcmpl-1",
    object: "chat.completion.chunk",
    created: 0,
    model: "tiny",
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  },
});

const question: ChatCompletionCreateParamsStreaming = {
  model: "tiny",
  stream: true,
  messages: [{ role: "user", content: "Why is the sky blue?" }],
};

const contentOf = (part: ChatCompletionChunk): string => part.choices[0]?.delta.content ?? "";

/** An application that answers as the model's service does, and the SDK as its client. */
async function client(
  answer: (stream: EventStream) => AsyncIterable<Item>,
  options?: EventSourceOptions<Item>,
): Promise<OpenAI> {
  const app = express();
  app.post(
    "/v1/chat/completions",
    express.json(),
    eventSource((_req, stream) => answer(stream), options),
  );
  app.use(((_error, _req, res, _next) => {
    if (!res.headersSent) res.status(503).json({ error: { message: "No model is free.", type: "overloaded" } });
  }) satisfies express.ErrorRequestHandler);
  const { url } = await serve(app);
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "secret", maxRetries: 0 });
}

test("the SDK reads an answer token by token, each before there is another", async () => {
  const gates = Array.from({ length: 20 }, () => new Gate());
  const openai = await client(async function* () {
    for (const [n, gate] of gates.entries()) {
      yield chunk(`token ${n} \n\u2028\r\n é`);
      await gate.opened;
    }
    yield { data: "[DONE]" };
  });
  const got: string[] = [];
  for await (const part of await openai.chat.completions.create(question)) {
    gates[got.length]?.open();
    got.push(contentOf(part));
  }
  expect(got).toEqual(gates.map((_, n) => `token ${n} \n\u2028\r\n é`));
});

test("pings and a reconnection time pass the SDK unseen", async () => {
  const gate = new Gate();
  const openai = await client(
    async function* () {
      yield chunk("thinking ");
      await gate.opened;
      yield chunk("done");
      yield { data: "[DONE]" };
    },
    { retry: 1_000, pingInterval: 5, ping: pingsBefore(4, gate) },
  );
  const got: string[] = [];
  for await (const part of await openai.chat.completions.create(question)) got.push(contentOf(part));
  expect(got).toEqual(["thinking ", "done"]);
});

/** Comments, then the gate. */
function pingsBefore(count: number, gate: Gate): () => { comment: string } {
  return () => {
    if (--count === 0) gate.open();
    return { comment: "ping" };
  };
}

for (const [how, leave] of Object.entries({
  "abort() of the SDK": (stream: { controller: AbortController }) => stream.controller.abort(),
  "leaving the loop": () => "break" as const,
})) {
  test(`${how} reaches the generator`, async () => {
    const left = new Gate<unknown>();
    const openai = await client(async function* ({ signal }) {
      try {
        for (;;) {
          yield chunk("and ");
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      } finally {
        left.open(signal.reason);
      }
    });
    const stream = await openai.chat.completions.create(question);
    for await (const part of stream) {
      expect(contentOf(part)).toBe("and ");
      if (leave(stream) === "break") break;
    }
    await expect(left.opened).resolves.toBe("disconnected");
  });
}

test("a failure before the first token is an HTTP error with its body", async () => {
  const openai = await client(() => {
    throw new Error("No model is free.");
  });
  const failure = await openai.chat.completions.create(question).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(APIError);
  expect(failure).toMatchObject({ status: 503, type: "overloaded" });
});

test("a failure in the middle throws in the client's loop: cut, or with what onError sends", async () => {
  async function* broken(): AsyncGenerator<Item> {
    yield chunk("The sky ");
    throw new Error("a secret of the server's");
  }
  const read = async (openai: OpenAI): Promise<string> => {
    let text = "";
    for await (const part of await openai.chat.completions.create(question)) text += contentOf(part);
    return text;
  };
  await expect(read(await client(broken))).rejects.toThrow("terminated");
  const told = await client(broken, {
    onError: () => ({ data: { error: { message: "Try again.", code: "model_gone" } } }),
  });
  await expect(read(told)).rejects.toMatchObject({ code: "model_gone", error: { message: "Try again." } });
});

test("the SDK's own stream is a source, and is aborted when the reader leaves", async () => {
  let upstream: unknown;
  const openai = await client(async function* ({ signal }) {
    signal.addEventListener("abort", () => (upstream = signal.reason));
    for (;;) {
      yield chunk("blue ");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  const app = express();
  app.get(
    "/relay",
    eventSource(() => openai.chat.completions.create(question), { toEvent: (part) => ({ data: contentOf(part) }) }),
  );
  const { url } = await serve(app);
  const leave = new AbortController();
  const { body } = await fetch(`${url}/relay`, { signal: leave.signal });
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  expect(Buffer.from((await reader.read()).value as Uint8Array).toString()).toMatch(/^data: blue \n\n/);
  leave.abort();
  await until(() => upstream === "disconnected");
});
