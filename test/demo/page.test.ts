/// <reference lib="dom" />
import { readFile } from "node:fs/promises";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, test } from "vitest";
import { startDemo } from "../../examples/demo/server.js";
import { hasChromium, launchChromium } from "./chromium.js";
import { patiently, textOf, visit } from "./visit.js";

const panels = ["numbers", "ping", "tokens", "resume", "prices", "chat", "answer", "trouble"];

let browser: Browser;

describe.runIf(hasChromium)("the page in Chromium", { concurrent: true, timeout: 90_000 }, () => {
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser?.close());

  test("shows with each panel the very files that run", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(browser, context);
    expect(await page.$$eval("section.panel", (sections) => sections.map(({ id }) => id))).toEqual(panels);
    const file = (path: string) => readFile(new URL(`../../examples/demo/${path}`, import.meta.url), "utf8");
    for (const panel of panels) {
      await page.click(`#${panel} .code summary`);
      await expect.poll(textOf(page, `#${panel} .code code`), patiently).toBe(await file(`panels/${panel}.ts`));
      await page.click(`#${panel} .code button >> text=Page`);
      await expect.poll(textOf(page, `#${panel} .code code`), patiently).toBe(await file(`public/panels/${panel}.js`));
    }
    check();
  });

  test("can be used by keyboard alone", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(browser, context);
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Skip to the first panel");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Start");
    expect(await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle)).toBe("solid");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#numbers .numbers li");
    expect(await focused()).toBe("Stop");
    await page.keyboard.press("Space");
    expect(await focused()).toBe("Start");
    expect(await page.getAttribute("#numbers", "data-state")).toBe("idle");
    check();
  });

  test("names everything that can be operated or scrolled", async (context) => {
    const { expect } = context;
    const { page } = await visit(browser, context);
    const nameless = await page.$$eval("button, input, select, textarea, a, [tabindex], [role=log], [role=region]", (found) =>
      found.filter((one) => {
        const { labels } = one as HTMLInputElement;
        const isForm = /^(INPUT|SELECT|TEXTAREA)$/.test(one.tagName);
        return isForm ? labels?.length !== 1 : (one.getAttribute("aria-label") ?? one.textContent?.trim() ?? "") === "";
      }).map((one) => one.outerHTML),
    );
    expect(nameless).toEqual([]);
  });

  test.for(["light", "dark"] as const)("fits on a phone in %s colours", async (colorScheme, context) => {
    const { expect } = context;
    const { page, check } = await visit(browser, context, { colorScheme, viewport: { width: 360, height: 740 }, isMobile: true });
    const { width, background } = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      background: getComputedStyle(document.body).backgroundColor,
    }));
    expect(width).toBe(360);
    const [red] = background.match(/\d+/g) ?? [];
    expect(Number(red) > 127).toBe(colorScheme === "light");
    check();
  });
});

describe("the demo's server", () => {
  test("refuses what is no text, and goes on", async (context) => {
    const { expect } = context;
    const log: string[] = [];
    const demo = await startDemo({ print: (line) => void log.push(line) });
    context.onTestFinished(() => demo.close());
    const post = async (path: string, body: string) => (await fetch(demo.url + path, { method: "POST", headers: { "Content-Type": "application/json" }, body })).status;
    for (const path of ["/tokens", "/answer", "/chat/lobby"]) {
      for (const body of ["{}", "[]", "{", '{"prompt":5}', '{"prompt":" "}', '{"name":"Ada"}', JSON.stringify({ prompt: "x".repeat(201) })]) {
        expect(await post(path, body), `${path} ${body}`).toBe(400);
      }
    }
    expect(await post("/chat/attic", '{"name":"Ada","text":"hello"}')).toBe(404);
    expect((await fetch(`${demo.url}/backstage/connections/nobody`, { method: "DELETE" })).status).toBe(404);
    expect((await fetch(`${demo.url}/code/../server.ts`)).status).toBe(404);
    expect((await fetch(demo.url)).status).toBe(200);
  });

  test("says 204 of an answer that it does not know", async (context) => {
    const demo = await startDemo({ print: () => {} });
    context.onTestFinished(() => demo.close());
    for (const id of ["unknown", "made.up", "made.", ".up"]) context.expect((await fetch(`${demo.url}/answer/${id}`)).status, id).toBe(204);
  });

  test("closes with streams open", async ({ expect }) => {
    const demo = await startDemo({ print: () => {} });
    const open = await Promise.all(["/ping", "/prices", "/backstage"].map((path) => fetch(demo.url + path)));
    await demo.close();
    for (const response of open) await expect(response.text()).resolves.toBeTypeOf("string");
  });
});
