import type { Browser, BrowserContextOptions, ConsoleMessage, Page, Request, WebError } from "playwright-core";
import type { TestContext } from "vitest";
import { type Demo, startDemo } from "../../examples/demo/server.js";

/** A bound against hanging, not a measure. */
export const patiently = { timeout: 60_000 };

/** A demo of its own for one test, and a browser of its own: a page at an origin that no other test has had. */
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

export type Visitor = (test: TestContext, options?: VisitOptions) => Promise<Visit>;

/**
 * Makes the visits of a file. A browser context, with its window and its processes, costs some times more than all that
 * a page of the demo does, so it goes on from a test that has passed to one that wants no other options. What the page
 * could leave behind (storage, locks, connections, channels between tabs) is bound to its origin, and each demo has its
 * own port.
 */
export function visitor(browser: () => Browser): Visitor {
  const free: Page[] = [];

  return async (test, { breaks, ...options } = {}) => {
    const log: string[] = [];
    const requests: string[] = [];
    const troubles: string[] = [];
    const demo = await startDemo({ print: (line) => void log.push(line) });
    const isPlain = Object.keys(options).length === 0;
    const page = (isPlain ? free.pop() : undefined) ?? (await newPage(browser(), options));
    const context = page.context();

    const onRequest = (request: Request) => {
      const url = new URL(request.url());
      requests.push(`${request.method()} ${url.pathname}`);
      if (url.origin !== demo.url) troubles.push(`a request to ${url.href}`);
    };
    const onConsole = (message: ConsoleMessage) => {
      const isMeant = message.type() !== "error" || breaks?.test(message.text());
      if (isMeant !== true) troubles.push(message.text());
    };
    const onWebError = (error: WebError) => void troubles.push(String(error.error()));
    context.on("request", onRequest).on("console", onConsole).on("weberror", onWebError);

    test.onTestFinished(async () => {
      context.off("request", onRequest).off("console", onConsole).off("weberror", onWebError);
      if (isPlain && test.task.result?.state === "pass") {
        for (const tab of context.pages()) if (tab !== page) await tab.close();
        await page.goto("about:blank");
        free.push(page);
      } else {
        await context.close();
      }
      await demo.close();
    });

    async function openTab(address = demo.url): Promise<Page> {
      const tab = await context.newPage();
      tab.setDefaultTimeout(patiently.timeout);
      await tab.goto(address);
      return tab;
    }

    await page.goto(demo.url);
    return { demo, log, requests, openTab, page, check: () => test.expect(troubles).toEqual([]) };
  };
}

async function newPage(browser: Browser, options: BrowserContextOptions): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(patiently.timeout);
  return page;
}

/** The text of what `selector` finds, as it is at the moment. */
export function textOf(page: Page, selector: string): () => Promise<string> {
  return () => page.$eval(selector, (element) => element.textContent ?? "");
}
