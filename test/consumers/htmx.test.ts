import { expect, test } from "vitest";
import { hasChromium, launchChromium } from "../demo/chromium.js";
import { runExample } from "../support/example.js";

const example = await runExample("htmx");

test("the stream carries HTML, and goes on after the last step that was shown", async () => {
  const response = await fetch(example.url, { headers: { "Last-Event-ID": "3" } });
  expect(await response.text()).toBe(
    'id: 4\ndata: <hx-partial hx-target="#steps" hx-swap="beforeend"><li>Delivered</li></hx-partial>\n' +
      'data: <hx-partial hx-target="#status">Step 4 of 4</hx-partial>\n\nevent: delivered\ndata: \n\n',
  );
});

test.skipIf(!hasChromium)(
  "the extension swaps each event into its places, and closes at the last one",
  async ({ onTestFinished }) => {
    const browser = await launchChromium();
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    const requests: string[] = [];
    page.on("request", (request) => requests.push(new URL(request.url()).pathname));
    await page.addInitScript(() => {
      document.addEventListener("htmx:sse:close", (event) => {
        document.title = `closed by ${(event as CustomEvent<{ reason: string }>).detail.reason}`;
      });
    });
    await page.goto(new URL("/", example.url).href);
    await page.waitForFunction(() => document.title === "closed by message");
    expect(await page.locator("li").allTextContents()).toEqual([
      "Packed",
      "Handed to the courier",
      "In your street",
      "Delivered",
    ]);
    expect(await page.locator("p").textContent()).toBe("Step 4 of 4");
    expect(requests.filter((path) => path === "/delivery")).toHaveLength(1);
  },
);
