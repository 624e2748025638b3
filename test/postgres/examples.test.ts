import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { describeWithPostgres } from "./postgres-server.js";

/** Starts an example in a process of its own and resolves with its address. */
async function start(name: string, url: string): Promise<string> {
  const file = fileURLToPath(new URL(`../../examples/postgres/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", file], {
    env: { ...process.env, PORT: "0", DATABASE_URL: url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  });
  const [address] = (await once(createInterface(child.stdout), "line")) as [string];
  return address;
}

/** What a stream sends until it has sent `enough`, from the moment that its head is there. */
async function listen(url: string, headers: Record<string, string> = {}) {
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const { body } = await fetch(url, { headers, signal: controller.signal });
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = "";
  return async (enough: RegExp): Promise<string> => {
    while (!enough.test(text)) text += decoder.decode((await reader.read()).value, { stream: true });
    return text;
  };
}

const post = (url: string, body: object) =>
  fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

describeWithPostgres("the examples on Postgres", (postgres) => {
  it("order: an order is heard of if and only if it is in the table", async () => {
    const url = await start("order", postgres.url);
    const heard = await listen(url);
    expect((await post(url, { item: "gold", euros: 5000 })).status).toBe(402);
    expect((await post(url, { item: "tea", euros: 5 })).status).toBe(201);
    expect(await heard(/tea/)).toMatch(/^id: .*\nevent: order\ndata: {"id":\d+,"item":"tea"}\n\n$/);
    expect((await postgres.pool().query("SELECT item FROM orders")).rows).toEqual([{ item: "tea" }]);
  });

  it("trigger: what changes the table by whatever way is heard of", async () => {
    const heard = await listen(await start("trigger", postgres.url));
    await postgres.pool().query("UPDATE stock SET left_over = left_over - 1");
    const text = await heard(/cake/);
    expect(text).toContain('event: stock\ndata: {"item":"tea","left_over":9}\n\n');
    expect(text).toContain('event: stock\ndata: {"item":"cake","left_over":2}\n\n');
  });

  it("pglite: the same, with nothing installed", async () => {
    const url = await start("pglite", postgres.url);
    const heard = await listen(url);
    expect((await post(url, {})).status).toBe(500);
    expect((await post(url, { text: "hello" })).status).toBe(201);
    expect(await heard(/hello/)).toMatch(/^id: .*\nevent: note\ndata: {"text":"hello"}\n\n$/);
  });
});
