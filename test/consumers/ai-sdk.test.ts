import { AbstractChat, DefaultChatTransport, type UIMessage } from "ai";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { model } from "../../examples/ai/model.js";
import { runExample } from "../support/example.js";
import { aborted, Gate, until } from "../support/stage.js";

const { answer } = model;
afterEach(() => void (model.answer = answer));

/** What `useChat` is without React. */
class Chat extends AbstractChat<UIMessage> {
  constructor(api: string, id: string) {
    const state = {
      status: "ready" as const,
      error: undefined,
      messages: [] as UIMessage[],
      pushMessage: (message: UIMessage) => void state.messages.push(message),
      popMessage: () => void state.messages.pop(),
      replaceMessage: (index: number, message: UIMessage) => void state.messages.splice(index, 1, message),
      snapshot: <T>(value: T): T => structuredClone(value),
    };
    super({ id, transport: new DefaultChatTransport({ api }), state });
  }

  /** Each message's text. */
  get texts(): string[] {
    return this.messages.map(({ parts }) => parts.map((part) => (part.type === "text" ? part.text : "")).join(""));
  }
}

/** A model whose answers are numbered; each waits in its middle until `finish` is opened, or until it is stopped. */
function teachModel(): { finish: Gate; signals: AbortSignal[] } {
  const seen = { finish: new Gate(), signals: [] as AbortSignal[] };
  model.answer = async function* (prompt, signal) {
    const number = seen.signals.push(signal);
    yield `${number}: ${prompt} `;
    await Promise.race([seen.finish.opened, aborted(signal)]);
    signal.throwIfAborted();
    yield "because";
  };
  return seen;
}

describe("examples/ai/ai-sdk with the SDK's chat", () => {
  let url: string;
  beforeAll(async () => {
    ({ url } = await runExample("ai/ai-sdk"));
  });

  test("regenerate() replaces an answer by another one", async () => {
    const { finish, signals } = teachModel();
    finish.open();
    const chat = new Chat(url, "regenerate");
    await chat.sendMessage({ text: "why?" });
    expect(chat.texts).toEqual(["why?", "1: why? because"]);
    await chat.regenerate();
    expect(chat.texts).toEqual(["why?", "2: why? because"]);
    expect(signals).toHaveLength(2);
  });

  test("regenerate() stops an answer that is under way, and a reload then finds the new one", async () => {
    const { finish, signals } = teachModel();
    const chat = new Chat(url, "under-way");
    const sent = chat.sendMessage({ text: "why?" });
    await until(() => chat.texts[1] === "1: why? ");
    await chat.stop();
    await sent;
    const regenerated = chat.regenerate();
    await until(() => chat.texts[1] === "2: why? ");
    await until(() => signals[0]?.reason === "stopped");

    const reloaded = new Chat(url, "under-way");
    const resumed = reloaded.resumeStream();
    await until(() => reloaded.texts[0] === "2: why? ");
    finish.open();
    await Promise.all([regenerated, resumed]);
    expect(chat.texts).toEqual(["why?", "2: why? because"]);
    expect(reloaded.texts).toEqual(["2: why? because"]);
    expect(signals).toHaveLength(2);
  });

  test("a question that is edited gets an answer of its own", async () => {
    teachModel().finish.open();
    const chat = new Chat(url, "edit");
    await chat.sendMessage({ text: "why?" });
    await chat.sendMessage({ text: "how?", messageId: chat.messages[0]?.id as string });
    expect(chat.texts).toEqual(["how?", "2: how? because"]);
  });

  test("a question that is sent again gets the same answer", async () => {
    const { finish, signals } = teachModel();
    finish.open();
    const chat = new Chat(url, "again");
    await chat.sendMessage({ text: "why?" });
    chat.messages = chat.messages.slice(0, 1);
    await chat.sendMessage();
    expect(chat.texts).toEqual(["why?", "1: why? because"]);
    expect(signals).toHaveLength(1);
  });
});
