import { test } from "vitest";
import { patiently, textOf, type Visitor } from "./visit.js";

const cut = /ERR_INCOMPLETE_CHUNKED_ENCODING/;

export function streamTests(visit: Visitor): void {
  test("numbers arrive by themselves when the page opens, and a named event ends them", async (context) => {
    const { expect } = context;
    const { page, requests, check } = await visit(context);
    await expect.poll(textOf(page, "#numbers .numbers"), patiently).toBe("12345done: 1 to 5");
    const wire = await textOf(page, "#numbers .wire pre")();
    expect(wire).toContain('→ GET /numbers\n← 200 OK\nid: 1\ndata: {"n":1}\n\nid: 2\n');
    expect(wire).toContain('id: 5\ndata: {"n":5}\n\nevent: done\ndata: 1 to 5\n\n');
    expect(requests.filter((request) => request === "GET /numbers")).toHaveLength(1);
    check();
  });

  test("a ping is on the wire, and the page does not see it", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    await page.click("#ping button");
    await expect.poll(textOf(page, "#ping [data-seen-events]"), patiently).toBe("1");
    await expect
      .poll(async () => Number(await textOf(page, "#ping [data-wire-pings]")()), patiently)
      .toBeGreaterThan(1);
    expect(await textOf(page, "#ping [data-seen-pings]")()).toBe("0");
    expect(await textOf(page, "#ping .wire pre")()).toContain("\n: you can't see\n: this ping\n\n");
    check();
  });

  test("Stop ends the generator that a POST has started", async (context) => {
    const { expect } = context;
    const { page, log, check } = await visit(context);
    await page.fill("#tokens input", "Is <b>this</b> bold?");
    await page.press("#tokens input", "Enter");
    await expect
      .poll(textOf(page, "#tokens .text"), patiently)
      .toContain("You asked: “Is <b>this</b> bold?”.\n\nAn event");
    await page.click("#tokens button >> text=Stop");
    await expect.poll(() => log.join("\n"), patiently).toMatch(/tokens: the generator was stopped after \d\d? tokens/);
    await expect.poll(textOf(page, "#tokens .own-log"), patiently).toContain("the generator was stopped after");
    check();
  });

  test("a stream that is cut goes on after the last event ID, and 204 stops it", async (context) => {
    const { expect } = context;
    const { page, requests, check } = await visit(context, { breaks: cut });
    await page.click("#resume button >> text=Start");
    await page.locator("#resume .parts li").nth(4).waitFor();
    await page.click("#resume button >> text=Kill");
    await expect.poll(textOf(page, "#resume .verdict"), patiently).toContain("204");
    expect(await textOf(page, "#resume .verdict")()).toContain("20 parts over 2 connections, 0 missing, 0 twice");
    const wire = await textOf(page, "#resume .wire pre")();
    const [, seen] =
      /id: (\d+)\n[^\n]*\n\n■ connection cut\n→ GET \/resume\n→ Last-Event-ID: \1\n← 200 OK\n/.exec(wire) ?? [];
    expect(Number(seen)).toBeGreaterThanOrEqual(5);
    expect(wire).toMatch(/→ Last-Event-ID: 20\n← 204 No Content\n■ end of the response\n$/);
    expect(requests.filter((request) => request === "GET /resume")).toHaveLength(3);
    check();
  });

  test("Start three more leaves nothing waiting for a connection", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    await page.waitForSelector("#numbers[data-state=open]");
    await page.click("#start-more");
    for (const id of ["tokens", "resume", "prices"]) await page.waitForSelector(`#${id}[data-state=open]`);
    expect(await page.$$("[data-state=waiting]")).toEqual([]);
    expect(await textOf(page, "#connections")()).toContain("of the browser’s 6");
    check();
  });

  test("a stream too many waits until another gives its connection back", async (context) => {
    const { expect } = context;
    const { page, check } = await visit(context);
    await page.click("#numbers [data-toggle] >> text=Stop");
    for (const id of ["ping", "prices", "trouble"]) await page.click(`#${id} [data-toggle]`);
    await expect.poll(textOf(page, "#connections"), patiently).toContain("5 of the browser");
    await page.click("#chat [data-toggle]");
    expect(await page.getAttribute("#chat", "data-state")).toBe("waiting");
    await page.click("#trouble [data-toggle]");
    await page.waitForSelector("#chat[data-state=open]");
    check();
  });
}
