import { type AbstractAgent, type AgentSubscriber, HttpAgent } from "@ag-ui/client";
import Anthropic from "@anthropic-ai/sdk";
import { DefaultChatTransport, type UIMessageChunk } from "ai";
import OpenAI from "openai";
import { expect } from "vitest";
import { Gate } from "../support/stage.js";

/** One of the examples in examples/ai, and the real client of its protocol. */
export interface Recipe {
  /** Asks for the answer `id`, or joins those who have asked before; hands on each piece of text. Rejects as the client does. */
  ask(url: string, id: string, prompt: string, onText: (text: string) => void, signal: AbortSignal): Promise<void>;
  /** Whether it was stopped. */
  stop(url: string, id: string): Promise<unknown>;
  /** What the client makes of an answer that was stopped: nothing, or an error. */
  readonly stopped: RegExp | undefined;
  readonly failed: RegExp;
}

const post = async (url: string, method = "POST"): Promise<unknown> => (await fetch(url, { method })).json();
const origin = (url: string): string => new URL(url).origin;

export const recipes: Record<string, Recipe> = {
  "ai-sdk": {
    async ask(url, id, prompt, onText, abortSignal) {
      const transport = new DefaultChatTransport({ api: url });
      const user = { id: "1", role: "user" as const, parts: [{ type: "text" as const, text: prompt }] };
      const resumed = await transport.reconnectToStream({ chatId: id, abortSignal });
      const stream =
        resumed ??
        (await transport.sendMessages({
          chatId: id,
          messages: [user],
          trigger: "submit-message",
          messageId: undefined,
          abortSignal,
        }));
      const types: UIMessageChunk["type"][] = [];
      for await (const chunk of stream as ReadableStream<UIMessageChunk> & AsyncIterable<UIMessageChunk>) {
        types.push(chunk.type);
        if (chunk.type === "text-delta") onText(chunk.delta);
        if (chunk.type === "error") throw new Error(chunk.errorText);
        if (chunk.type === "abort") throw new Error("aborted");
      }
      expect(types.at(0)).toBe("start");
      expect(types.at(-1)).toBe("finish");
    },
    stop: (url, id) => post(`${url}/${id}`, "DELETE"),
    stopped: /^aborted$/,
    failed: /could not be finished/,
  },
  openai: {
    async ask(url, id, prompt, onText, signal) {
      const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
      const stream = await client.chat.completions.create(
        { model: "example", stream: true, messages: [{ role: "user", content: prompt }] },
        { headers: { "X-Answer-Id": id }, signal },
      );
      for await (const chunk of stream) onText(chunk.choices[0]?.delta.content ?? "");
      signal.throwIfAborted();
    },
    stop: (url, id) => post(`${url}/answers/${id}/stop`),
    stopped: undefined,
    failed: /could not be finished/,
  },
  anthropic: {
    async ask(url, id, prompt, onText, signal) {
      const client = new Anthropic({ baseURL: origin(url), apiKey: "none", maxRetries: 0 });
      const stream = client.messages.stream(
        { model: "example", max_tokens: 100, messages: [{ role: "user", content: prompt }] },
        { headers: { "X-Answer-Id": id }, signal },
      );
      stream.on("text", onText);
      await stream.finalMessage();
    },
    stop: (url, id) => post(`${origin(url)}/v1/answers/${id}/stop`),
    stopped: /The answer was stopped/,
    failed: /could not be finished/,
  },
  "ag-ui": {
    async ask(url, id, prompt, onText, signal) {
      const agent = new HttpAgent({
        url,
        threadId: "1",
        initialMessages: [{ id: "1", role: "user", content: prompt }],
      });
      signal.addEventListener("abort", () => (agent as AbstractAgent).abortRun());
      let failure: string | undefined;
      const subscriber: AgentSubscriber = {
        onTextMessageContentEvent: ({ event }) => onText(event.delta),
        onRunErrorEvent: ({ event }) => void (failure = event.message),
      };
      await agent.runAgent({ runId: id }, subscriber);
      signal.throwIfAborted();
      if (failure !== undefined) throw new Error(failure);
    },
    stop: (url, id) => post(`${url}/${id}/stop`),
    stopped: /The run was stopped/,
    failed: /could not be finished/,
  },
};

/** A client that collects what it is given. */
export class Tab {
  text = "";
  readonly done: Promise<void>;
  readonly #leave = new AbortController();
  readonly #begun = new Gate();

  /** @param mark the text with which it has begun */
  constructor(recipe: Recipe, url: string, id: string, { prompt = "why?", mark = "scatters, " } = {}) {
    const onText = (text: string): void => {
      this.text += text;
      if (this.text.includes(mark)) this.#begun.open();
    };
    this.done = recipe.ask(url, id, prompt, onText, this.#leave.signal);
    this.done.catch(() => {});
  }

  /** Resolves when the mark is there; rejects where it does not come. */
  begun(): Promise<unknown> {
    return Promise.race([this.#begun.opened, this.done]);
  }

  async reload(): Promise<void> {
    this.#leave.abort();
    await this.done.catch(() => {});
  }
}
