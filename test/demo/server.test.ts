import { describe, test } from "vitest";
import { startDemo } from "../../examples/demo/server.js";

describe("the demo's server", () => {
  test("refuses what is no text, and goes on", async (context) => {
    const { expect } = context;
    const log: string[] = [];
    const demo = await startDemo({ print: (line) => void log.push(line) });
    context.onTestFinished(() => demo.close());
    const post = async (path: string, body: string) =>
      (await fetch(demo.url + path, { method: "POST", headers: { "Content-Type": "application/json" }, body })).status;
    for (const path of ["/tokens", "/answer", "/chat/lobby"]) {
      for (const body of [
        "{}",
        "[]",
        "{",
        '{"prompt":5}',
        '{"prompt":" "}',
        '{"name":"Ada"}',
        JSON.stringify({ prompt: "x".repeat(201) }),
      ]) {
        expect(await post(path, body), `${path} ${body}`).toBe(400);
      }
    }
    expect(await post("/chat/attic", '{"name":"Ada","text":"hello"}')).toBe(404);
    expect((await fetch(`${demo.url}/backstage/connections/nobody`, { method: "DELETE" })).status).toBe(404);
    expect((await fetch(`${demo.url}/code/../server.ts`)).status).toBe(404);
    expect((await fetch(demo.url)).status).toBe(200);
  });

  test("closes with streams open", async ({ expect }) => {
    const demo = await startDemo({ print: () => {} });
    const open = await Promise.all(["/ping", "/prices", "/backstage"].map((path) => fetch(demo.url + path)));
    await demo.close();
    for (const response of open) await expect(response.text()).resolves.toBeTypeOf("string");
  });
});
