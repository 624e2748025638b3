/// <reference lib="dom" />
import type { Page } from "playwright-core";
import { test } from "vitest";
import { complete } from "../../examples/demo/model.js";
import { patiently, textOf, type Visitor } from "./visit.js";

const cut = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/;

export function brokerTests(visit: Visitor): void {
  test("tabs share the chart's prices, and a new tab gets the past first", async (context) => {
    const { expect } = context;
    const { page, requests, openTab, check } = await visit(context);
    await page.click("#prices [data-toggle]");
    await expect.poll(textOf(page, "#prices .latest"), patiently).toMatch(/^Ash [\d.]+Birch [\d.]+Cedar [\d.]+$/);
    const firstId = /id: (\S+)/.exec(await textOf(page, "#prices .wire pre")())?.[1];
    // Opened by the panel's link, it starts its chart by itself.
    const tab = await openTab(await page.$eval("#prices a", (link) => (link as HTMLAnchorElement).href));
    await expect.poll(textOf(tab, "#prices .wire pre"), patiently).toContain(`id: ${firstId}\n`);
    await tab.waitForFunction(isPainted);
    await page.bringToFront();
    await page.waitForFunction(isPainted);
    expect(requests.filter((request) => request === "GET /backstage")).toHaveLength(1);
    check();
  });

  test("what is said in a room arrives in it as it is, and in no other", async (context) => {
    const { expect } = context;
    const { page, openTab, check } = await visit(context);
    const tab = await openTab();
    await tab.selectOption("#chat select", "kitchen");
    await tab.click("#chat [data-toggle]");
    const forgery = "hello\ndata: forged\n\nid: 9\r\nevent: gap\n\n<img src=x onerror=alert(1)>\u2028end";
    const say = async (room: string, text: string) => {
      await page.selectOption("#chat select", room);
      await page.fill("#chat textarea", text);
      await page.press("#chat textarea", "Enter");
      await expect.poll(() => page.inputValue("#chat textarea"), patiently).toBe("");
    };
    await say("garden", "not for the kitchen");
    await say("kitchen", forgery);
    await tab.waitForSelector("#chat .messages li");
    expect(await tab.$$eval("#chat .messages li", (items) => items.map((item) => item.textContent))).toEqual([
      `Ada${forgery.replace("\r\n", "\n")}`,
    ]);
    expect(await tab.$("#chat .messages img")).toBeNull();
    check();
  });

  test("an answer is complete in both tabs after a reload in its middle", async (context) => {
    const { expect } = context;
    // It takes as long as the answer itself.
    const expected = wholeAnswer("twice?");
    expected.catch(() => {});
    const { page, openTab, check } = await visit(context);
    const tab = await ask(page, "twice?").then(openTab);
    await expect.poll(textOf(page, "#answer .text"), patiently).toContain("An event stream");
    await page.reload();
    const [tokens, whole] = await expected;
    for (const one of [page, tab]) {
      await expect
        .poll(textOf(one, "#answer .verdict"), patiently)
        .toBe(`${tokens} tokens, 0 twice. The server said 204: that was all.`);
      expect(await textOf(one, "#answer .text")()).toBe(whole);
      expect(await textOf(one, "#answer .wire pre")()).toContain("← 204 No Content");
    }
    check();
  });

  test("Stop ends the answer in every tab, and the model with it", async (context) => {
    const { expect } = context;
    const { page, log, openTab, check } = await visit(context);
    const tab = await ask(page, "too long?").then(openTab);
    await expect.poll(textOf(tab, "#answer .text"), patiently).toContain("You asked");
    await tab.click("#answer [data-stop]");
    for (const one of [page, tab]) await expect.poll(textOf(one, "#answer .verdict"), patiently).toContain("204");
    expect(await textOf(page, "#answer .text")()).toBe(await textOf(tab, "#answer .text")());
    expect(log).toContain("answer: stopped");
    check();
  });

  test("an answer goes on while the server restarts, for another process writes it", async (context) => {
    const { expect } = context;
    const { page, log, check } = await visit(context, { breaks: cut });
    await ask(page, "still there?");
    await expect.poll(textOf(page, "#answer .text"), patiently).toContain("You asked");
    await page.click("#trouble [data-restart]");
    const [tokens, whole] = await wholeAnswer("still there?");
    await expect
      .poll(textOf(page, "#answer .verdict"), patiently)
      .toBe(`${tokens} tokens, 0 twice. The server said 204: that was all.`);
    expect(await textOf(page, "#answer .text")()).toBe(whole);
    expect(log).toContain("server: closing");
    check();
  });

  test("when the process that writes an answer is killed every tab is told so, and can ask again", async (context) => {
    const { expect } = context;
    const { page, log, openTab, check } = await visit(context);
    const tab = await ask(page, "are you well?").then(openTab);
    await expect.poll(textOf(tab, "#answer .text"), patiently).toContain("You asked");
    await tab.click("#answer [data-kill]");
    for (const one of [page, tab]) {
      await one.waitForSelector("#answer[data-state=lost]");
      expect(await textOf(one, "#answer .verdict")()).toContain("“lost”");
      expect(await textOf(one, "#answer .wire pre")()).toMatch(/event: lost\ndata: \n\n/);
    }
    expect(await textOf(page, "#answer .text")()).toBe(await textOf(tab, "#answer .text")());
    expect(log.join("\n")).toMatch(/answer: process \d+ has ended \(SIGKILL\)/);
    await page.click("#answer [data-toggle] >> text=Ask again");
    await expect.poll(textOf(page, "#answer .text"), patiently).toContain("An event stream");
    check();
  });

  test("an answer that the server does not know is said to be gone, and is not asked for again", async (context) => {
    const { expect } = context;
    const { demo, requests, openTab, check } = await visit(context);
    const tab = await openTab(`${demo.url}/#answer=made.up`);
    await expect.poll(textOf(tab, "#answer .verdict"), patiently).toContain("This answer is gone");
    // Where the browser meant to come back, it would be "reconnecting".
    expect(await tab.getAttribute("#answer", "data-state")).toBe("ended");
    expect(await tab.isVisible("#answer a")).toBe(false);
    expect(await textOf(tab, "#answer .wire pre")()).toContain("← 204 No Content");
    expect(requests.filter((request) => request.startsWith("GET /answer/"))).toHaveLength(1);
    for (const id of ["unknown", "made.", ".up"])
      expect((await fetch(`${demo.url}/answer/${id}`)).status, id).toBe(204);
    check();
  });

  test("a transaction that is rolled back leaves neither a row nor an event", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    await page.click("#orders [data-toggle]");
    await page.waitForSelector("#orders[data-state=open]");
    const before = (await chips(page, "rows")).length;
    for (const button of ["order", "roll-back", "order"]) {
      const answered = page.waitForResponse((response) => response.request().method() === "POST");
      await page.click(`#orders [data-${button}]`);
      await answered;
    }
    const verdict = await textOf(page, "#orders .verdict")();
    const rolledBack = /^Rolled back: (\d+ \w+)\. Neither/.exec(verdict)?.[1];
    await expect.poll(async () => (await chips(page, "rows")).length, patiently).toBe(before + 2);
    await expect.poll(() => chips(page, "events"), patiently).toEqual(await chips(page, "rows"));
    expect(rolledBack).toBeDefined();
    expect(await chips(page, "events")).not.toContain(rolledBack);
    check();
  });

  test("a lost connection loses no tick, and a server that starts anew says gap", async (context) => {
    const { expect } = context;
    const { page, log, check } = await visit(context, { breaks: cut });
    await page.click("#trouble [data-toggle]");
    await page.locator("#trouble .ticks li").nth(1).waitFor();
    await page.click("#trouble [data-kill]");
    await page.waitForSelector("#trouble .ticks li.back ~ li");
    const ticks = (await items(page)).filter((item) => item !== "back").map(Number);
    expect(ticks).toEqual(ticks.map((_, index) => (ticks[0] as number) + index));
    await page.click("#trouble [data-restart]");
    await page.waitForSelector("#trouble .ticks li.gap ~ li");
    expect((await items(page)).join(" ")).toMatch(/\d back gap 1/);
    expect(log.slice(-2)).toEqual(["server: closing", "server: listening"]);
    check();
  });

  test("the server cuts a client that has stopped reading", async (context) => {
    const { expect } = context;
    const { page, log, requests, check } = await visit(context);
    await page.click("#trouble [data-stall]");
    await expect.poll(() => log.join("\n"), patiently).toContain('trouble: the flood ended, reason "timeout"');
    await expect.poll(textOf(page, "#trouble .verdict"), patiently).toContain("has cut the client");
    // A browser that reads ahead of its page, as Firefox does, would take all of it.
    expect(requests).not.toContain("GET /trouble/flood");
    check();
  });
}

/** Asks for an answer, and returns its address for another tab. */
async function ask(page: Page, prompt: string): Promise<string> {
  await page.fill("#answer input", prompt);
  await page.press("#answer input", "Enter");
  await page.waitForSelector("#answer a:not([hidden])");
  return page.$eval("#answer a", (link) => (link as HTMLAnchorElement).href);
}

function chips(page: Page, list: "rows" | "events"): Promise<string[]> {
  return page.$$eval(`#orders .${list} li`, (found) => found.map((item) => item.textContent ?? ""));
}

function items(page: Page): Promise<string[]> {
  return page.$$eval("#trouble .ticks li", (found) => found.map((item) => item.textContent ?? ""));
}

/** The number of the answer's tokens, and their text. */
async function wholeAnswer(prompt: string): Promise<[number, string]> {
  const tokens: string[] = [];
  for await (const token of complete(prompt, AbortSignal.timeout(patiently.timeout))) tokens.push(token);
  return [tokens.length, tokens.join("")];
}

/** In the page: whether the chart has anything on it. */
function isPainted(): boolean {
  const canvas = document.querySelector<HTMLCanvasElement>("#prices canvas");
  return (
    canvas
      ?.getContext("2d")
      ?.getImageData(0, 0, canvas.width, canvas.height)
      .data.some((byte) => byte !== 0) === true
  );
}
