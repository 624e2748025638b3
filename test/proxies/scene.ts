import express from "express";
import { eventSource, type EventSourceOptions, type EventStream, type StreamSummary } from "express-event-source";
import { createServer, type Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished } from "vitest";
import { serve } from "../support/server.js";
import { Gate } from "../support/stage.js";
import { type Change, Proxy, type ProxyName } from "./proxy.js";

export type Source = (stream: EventStream) => AsyncIterable<{ id?: number; data: unknown }>;

export interface Scene {
  readonly proxy: Proxy;
  readonly server: Server;
  readonly summaries: StreamSummary[];
}

/** An application with one stream, behind a proxy. */
export async function behind(
  name: ProxyName,
  source: Source,
  options: EventSourceOptions = {},
  changes: readonly Change[] = [],
): Promise<Scene> {
  const summaries: StreamSummary[] = [];
  const app = express();
  app.get(
    "/",
    eventSource((_req, stream) => source(stream), {
      pingInterval: false,
      onClose: (summary) => summaries.push(summary),
      ...options,
    }),
  );
  // What reaches it comes after the head: Express would only log it and cut the connection once more.
  app.use(((_error, _req, _res, _next) => {}) satisfies express.ErrorRequestHandler);
  const { server, port } = await serve(app, createServer());
  return { proxy: await Proxy.start(name, port, changes), server, summaries };
}

/** The frames of an answer as they come, comments too. */
async function* framesOf(response: Response): AsyncGenerator<string, void> {
  let text = "";
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    const frames = (text + part).split("\n\n");
    text = frames.pop() as string;
    yield* frames;
  }
}

/** Opens a stream that the test may leave; it is left when the test is over. */
export async function open(
  proxy: Proxy,
): Promise<{ response: Response; frames: AsyncGenerator<string, void>; leave: () => void }> {
  const leaving = new AbortController();
  onTestFinished(() => leaving.abort());
  const response = await proxy.fetch(proxy.url, { signal: leaving.signal });
  return { response, frames: framesOf(response), leave: () => leaving.abort() };
}

/**
 * A source that makes no event before the client has said that it got the one before: if one were held back, both would
 * wait for ever. `follow` is that client.
 */
export function lockStep(count: number): { source: Source; follow: (frames: AsyncIterable<string>) => Promise<void> } {
  const gates = Array.from({ length: count }, () => new Gate());
  return {
    source: async function* () {
      for (const [n, gate] of gates.entries()) {
        yield { id: n, data: { n } };
        await gate.opened;
      }
    },
    follow: async (frames) => {
      let n = 0;
      for await (const frame of frames) {
        expect(frame).toBe(`id: ${n}\ndata: {"n":${n}}`);
        gates[n++]?.open();
      }
      expect(n).toBe(count);
    },
  };
}

export async function* endless({ signal }: EventStream): AsyncGenerator<{ id: number; data: string }> {
  yield { id: 1, data: "hello" };
  await sleep(2 ** 30, undefined, { signal });
}

/** Fails when it is told to. */
export function failing(): { source: Source; fail: () => void } {
  const gate = new Gate();
  return {
    fail: gate.open,
    source: async function* () {
      yield { data: "before" };
      await gate.opened;
      throw new Error("The model is gone.");
    },
  };
}

/** The next frame that is no ping. */
export async function nextEvent(frames: AsyncGenerator<string, void>): Promise<string | undefined> {
  for await (const frame of frames) if (!frame.startsWith(":")) return frame;
  return undefined;
}
