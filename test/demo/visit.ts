import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import type { TestContext } from "vitest";
import { type Demo, startDemo } from "../../examples/demo/server.js";

/** A bound against hanging, not a measure. */
export const patiently = { timeout: 30_000 };

/** A demo of its own and a browser of its own (storage, locks, connections) for one test. */
export interface Visit {
  readonly demo: Demo;
  readonly page: Page;
  /** The server's log so far. */
  readonly log: readonly string[];
  /** Each request that the browser has made: `GET /numbers`. */
  readonly requests: readonly string[];
  /** Opens another tab. */
  readonly openTab: (address?: string) => Promise<Page>;
  /** Fails unless all went without an error in the console and without a request to another host. */
  readonly check: () => void;
}

interface VisitOptions extends BrowserContextOptions {
  /** The browser's own words for what the test breaks on purpose. */
  readonly breaks?: RegExp;
}

export async function visit(browser: Browser, test: TestContext, { breaks, ...options }: VisitOptions = {}): Promise<Visit> {
  const log: string[] = [];
  const requests: string[] = [];
  const troubles: string[] = [];
  const demo = await startDemo({ print: (line) => void log.push(line) });
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  test.onTestFinished(async () => {
    await context.close();
    await demo.close();
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    requests.push(`${request.method()} ${url.pathname}`);
    if (url.origin !== demo.url) troubles.push(`a request to ${url.href}`);
  });
  context.on("console", (message) => {
    const isMeant = message.type() !== "error" || breaks?.test(message.text());
    if (isMeant !== true) troubles.push(message.text());
  });
  context.on("weberror", (error) => void troubles.push(String(error.error())));

  async function openTab(address = demo.url): Promise<Page> {
    const page = await context.newPage();
    page.setDefaultTimeout(patiently.timeout);
    await page.goto(address);
    return page;
  }

  return { demo, log, requests, openTab, page: await openTab(), check: () => test.expect(troubles).toEqual([]) };
}

/** The text of what `selector` finds, as it is at the moment. */
export function textOf(page: Page, selector: string): () => Promise<string> {
  return () => page.$eval(selector, (element) => element.textContent ?? "");
}
