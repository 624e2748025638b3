/// <reference lib="dom" />
import { readFile } from "node:fs/promises";
import axe from "axe-core";
import { test } from "vitest";
import { patiently, textOf, type Visitor } from "./visit.js";

const panels = ["numbers", "ping", "tokens", "resume", "prices", "chat", "answer", "orders", "trouble"];

export function pageTests(visit: Visitor): void {
  test("shows with each panel the very files that run", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    expect(await page.$$eval("section.panel", (sections) => sections.map(({ id }) => id))).toEqual(panels);
    const file = (path: string) => readFile(new URL(`../../examples/demo/${path}`, import.meta.url), "utf8");
    for (const panel of panels) {
      await page.click(`#${panel} .code summary`);
      await expect.poll(textOf(page, `#${panel} .code code`), patiently).toBe(await file(`panels/${panel}.ts`));
      await page.click(`#${panel} .code button >> text=Page`);
      await expect.poll(textOf(page, `#${panel} .code code`), patiently).toBe(await file(`public/panels/${panel}.js`));
    }
    await page.click("#answer .code button >> text=Process");
    await expect.poll(textOf(page, "#answer .code code"), patiently).toBe(await file("panels/answer-process.ts"));
    check();
  });

  test("can be used by keyboard alone", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Skip to the first panel");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("Stop");
    expect(await page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle)).toBe("solid");
    await page.keyboard.press("Space");
    expect(await focused()).toBe("Start");
    expect(await page.getAttribute("#numbers", "data-state")).toBe("idle");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#numbers .numbers li");
    expect(await focused()).toBe("Stop");
    check();
  });

  test("shows its install command and leads to the README", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    expect(await textOf(page, ".install")()).toContain("npm install express-event-source express");
    const readme = await page.evaluate(async () => {
      const link = document.querySelector<HTMLAnchorElement>(".install a");
      return (await fetch(link?.href ?? "")).text();
    });
    expect(readme).toBe(await readFile(new URL("../../README.md", import.meta.url), "utf8"));
    check();
  });

  test("does not stretch a panel beside one that shows its code", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context, { viewport: { width: 1280, height: 900 } });
    const height = () => page.$eval("#numbers", (panel) => panel.getBoundingClientRect().height);
    const before = await height();
    await page.click("#ping .code summary");
    await page.waitForSelector("#ping .code code:not(:empty)");
    expect(await height()).toBeLessThanOrEqual(before);
    check();
  });

  test("names everything that can be operated or scrolled", async (context) => {
    const { expect } = context;
    const { page } = await visit(context);
    const nameless = await page.$$eval(
      "button, input, select, textarea, a, [tabindex], [aria-live], [role=region]",
      (found) =>
        found
          .filter((one) => {
            const { labels } = one as HTMLInputElement;
            const isForm = /^(INPUT|SELECT|TEXTAREA)$/.test(one.tagName);
            return isForm
              ? labels?.length !== 1
              : (one.getAttribute("aria-label") ?? one.textContent?.trim() ?? "") === "";
          })
          .map((one) => one.outerHTML),
    );
    expect(nameless).toEqual([]);
  });

  test.for(["light", "dark"] as const)(
    "has nothing that axe objects to, in %s colours",
    async (colorScheme, context) => {
      const { page, check } = await visit(context, { colorScheme });
      await page.click("#answer [data-toggle]");
      await page.waitForSelector("#answer[data-state=open]");
      await page.click("#answer [data-kill]");
      await page.click("#orders [data-toggle]");
      for (const summary of await page.$$("summary")) await summary.click();
      await page.waitForSelector("#answer[data-state=lost]");
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run());
      const found = violations.flatMap(({ id, nodes }) =>
        nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`),
      );
      context.expect(found).toEqual([]);
      check();
    },
  );

  test.for(["light", "dark"] as const)("fits on a phone in %s colours", async (colorScheme, context) => {
    const { expect } = context;
    const { page, check } = await visit(context, {
      colorScheme,
      viewport: { width: 360, height: 740 },
      isMobile: true,
    });
    const { width, background } = await page.evaluate(() => ({
      width: document.documentElement.scrollWidth,
      background: getComputedStyle(document.body).backgroundColor,
    }));
    expect(width).toBe(360);
    const [red] = background.match(/\d+/g) ?? [];
    expect(Number(red) > 127).toBe(colorScheme === "light");
    check();
  });
}
