import { type AbstractAgent, type AgentSubscriber, HttpAgent } from "@ag-ui/client";
import Anthropic from "@anthropic-ai/sdk";
import { DefaultChatTransport, type UIMessageChunk } from "ai";
import OpenAI from "openai";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { model } from "../../examples/ai/model.js";
import { runExample } from "../support/example.js";
import { Gate } from "../support/stage.js";

/** One of the examples in examples/ai, and the real client of its protocol. */
interface Recipe {
  /** Asks for the answer `id`, or joins those who have asked before; hands on each piece of text. Rejects as the client does. */
  ask(url: string, id: string, onText: (text: string) => void, signal: AbortSignal): Promise<void>;
  stop(url: string, id: string): Promise<unknown>;
  /** What the client makes of an answer that was stopped: nothing, or an error. */
  readonly stopped: RegExp | undefined;
  readonly failed: RegExp;
}

const post = async (url: string, method = "POST"): Promise<unknown> => (await fetch(url, { method })).json();
const origin = (url: string): string => new URL(url).origin;

const recipes: Record<string, Recipe> = {
  "ai-sdk": {
    async ask(url, id, onText, abortSignal) {
      const transport = new DefaultChatTransport({ api: url });
      const user = { id: "1", role: "user" as const, parts: [{ type: "text" as const, text: "why?" }] };
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
    async ask(url, id, onText, signal) {
      const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
      const stream = await client.chat.completions.create(
        { model: "example", stream: true, messages: [{ role: "user", content: "why?" }] },
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
    async ask(url, id, onText, signal) {
      const client = new Anthropic({ baseURL: origin(url), apiKey: "none", maxRetries: 0 });
      const stream = client.messages.stream(
        { model: "example", max_tokens: 100, messages: [{ role: "user", content: "why?" }] },
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
    async ask(url, id, onText, signal) {
      const agent = new HttpAgent({
        url,
        threadId: "1",
        initialMessages: [{ id: "1", role: "user", content: "why?" }],
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

const { answer } = model;
afterEach(() => void (model.answer = answer));

const words = ["Sunlight ", "scatters, ", "and blue ", "scatters most."];

/** A model that says its first two words, and the others when it may. `asked` counts how often it was used. */
function teachModel(rest: (signal: AbortSignal) => Promise<unknown>): { asked: number; signal?: AbortSignal } {
  const seen: { asked: number; signal?: AbortSignal } = { asked: 0 };
  model.answer = async function* (_prompt, signal) {
    seen.asked += 1;
    seen.signal = signal;
    yield words[0] as string;
    yield words[1] as string;
    await rest(signal);
    yield words[2] as string;
    yield words[3] as string;
  };
  return seen;
}

/** A client that collects what it is given. */
class Tab {
  text = "";
  readonly done: Promise<void>;
  readonly #leave = new AbortController();
  readonly #begun = new Gate();

  constructor(recipe: Recipe, url: string, id: string) {
    const onText = (text: string): void => {
      this.text += text;
      if (this.text.includes("scatters, ")) this.#begun.open();
    };
    this.done = recipe.ask(url, id, onText, this.#leave.signal);
    this.done.catch(() => {});
  }

  /** Resolves when the first two words are there. */
  begun(): Promise<unknown> {
    return Promise.race([this.#begun.opened, this.done]);
  }

  async reload(): Promise<void> {
    this.#leave.abort();
    await this.done.catch(() => {});
  }
}

const untilAborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));

describe.each(Object.entries(recipes))("examples/ai/%s with its client", (name, recipe) => {
  let url: string;
  beforeAll(async () => {
    ({ url } = await runExample(`ai/${name}`));
  });

  test("a reload in the middle, and a second tab, have the whole answer of one model", async () => {
    const gate = new Gate();
    const seen = teachModel(() => gate.opened);
    const first = new Tab(recipe, url, "reload");
    await first.begun();
    await first.reload();
    const tabs = [new Tab(recipe, url, "reload"), new Tab(recipe, url, "reload")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    gate.open();
    await Promise.all(tabs.map(({ done }) => done));
    for (const { text } of tabs) expect(text).toBe(words.join(""));
    expect(seen.asked).toBe(1);
  });

  test("a stop reaches the model and every tab", async () => {
    const seen = teachModel(untilAborted);
    const tabs = [new Tab(recipe, url, "stop"), new Tab(recipe, url, "stop")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    expect(await recipe.stop(url, "stop")).toEqual({ stopped: true });
    for (const { done } of tabs) {
      if (recipe.stopped === undefined) await done;
      else await expect(done).rejects.toThrow(recipe.stopped);
    }
    expect(seen.signal?.reason).toBe("stopped");
    expect(await recipe.stop(url, "stop")).toEqual({ stopped: false });
  });

  test("a model that fails is an error in every client, without its text", async () => {
    const gate = new Gate();
    teachModel(async () => {
      await gate.opened;
      throw new Error("a secret of the server's");
    });
    const tabs = [new Tab(recipe, url, "failure"), new Tab(recipe, url, "failure")];
    await Promise.all(tabs.map((tab) => tab.begun()));
    gate.open();
    for (const { done } of tabs) {
      const error = await done.catch((reason: unknown) => reason);
      expect(String(error)).toMatch(recipe.failed);
      expect(String(error)).not.toContain("secret");
    }
  });
});
