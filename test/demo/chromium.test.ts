import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe } from "vitest";
import { brokerTests } from "./brokers.js";
import { hasChromium, launchChromium } from "./chromium.js";
import { pageTests } from "./page.js";
import { streamTests } from "./streams.js";
import { visitor } from "./visit.js";

// One file, so that one browser, and the pages that it has made, serve them all.
describe.runIf(hasChromium)("in Chromium", { concurrent: true, timeout: 180_000 }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser?.close());
  const visit = visitor(() => browser);

  describe("the panels with a broker", () => brokerTests(visit));
  describe("the first four panels", () => streamTests(visit));
  describe("the page", () => pageTests(visit));
});
