/** The hooks of examples/pages/README.md, in the frameworks that they are for, and the pages of the examples, in Chromium. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
// These two come from the root, where the library is built and its demo is tested.
import { build } from "esbuild";
import express from "express";
import { chromium } from "playwright-core";
import { eventSource, listen } from "./scene.js";

const guide = readFileSync(new URL("../../examples/pages/README.md", import.meta.url), "utf8");
const hookOf = (framework) => new RegExp(`\`\`\`js browser ${framework}\n([^]*?)\`\`\``).exec(guide)[1];

/** What a page does with the hook: shows the numbers that have come, and goes when it is told to. */
const pages = {
  react: `
    import { createElement, StrictMode } from "react";
    import { createRoot } from "react-dom/client";
    const Numbers = () => useEvents("/numbers", { number: (list, n) => [...list, n] }, []).join(" ");
    const root = createRoot(document.querySelector("main"));
    root.render(createElement(StrictMode, null, createElement(Numbers)));
    globalThis.leave = () => root.unmount();`,
  vue: `
    import { createApp } from "vue";
    const Numbers = {
      setup() {
        const numbers = useEvents("/numbers", { number: (list, n) => [...list, n] }, []);
        return () => numbers.value.join(" ");
      },
    };
    const app = createApp(Numbers);
    app.mount("main");
    globalThis.leave = () => app.unmount();`,
  svelte: `
    const numbers = events("/numbers", { number: (list, n) => [...list, n] }, []);
    globalThis.leave = numbers.subscribe((list) => (document.querySelector("main").textContent = list.join(" ")));`,
};

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const skip = !existsSync(executablePath) && process.env.CI !== "true" && `no Chromium at ${executablePath}`;
let browser;
before(async () => {
  if (!skip)
    browser = await chromium.launch({
      executablePath,
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    });
});
after(() => browser?.close());

for (const [framework, page] of Object.entries(pages)) {
  test(`${framework}: events become state, and leaving closes the stream`, { skip, timeout: 60_000 }, async () => {
    const { outputFiles } = await build({
      stdin: { contents: hookOf(framework) + page, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
      bundle: true,
      write: false,
      define: { "process.env.NODE_ENV": '"development"', __VUE_OPTIONS_API__: "false", __VUE_PROD_DEVTOOLS__: "false" },
      logLevel: "silent",
    });
    const open = new Set();
    const app = express();
    app.get("/", (_req, res) => res.send('<!doctype html><main></main><script src="/page.js"></script>'));
    app.get("/page.js", (_req, res) => res.type("text/javascript").send(outputFiles[0].text));
    app.get(
      "/numbers",
      eventSource(async function* (_req, { signal }) {
        open.add(signal);
        signal.addEventListener("abort", () => open.delete(signal));
        for (const n of [1, 2, 3]) yield { event: "number", data: n };
        await once(signal, "abort");
      }),
    );
    const { server, url } = await listen(app);
    const tab = await browser.newPage();
    try {
      await tab.goto(url);
      await tab.waitForFunction(() => document.querySelector("main").textContent === "1 2 3");
      await tab.evaluate(() => globalThis.leave());
      while (open.size > 0) await once([...open][0], "abort");
    } finally {
      await tab.close();
      server.close();
      server.closeAllConnections();
    }
  });
}

/** What a visitor does on the page of an example, and sees. */
const visits = {
  "pages/job.ts": async (tab) => {
    await tab.click("#start");
    await tab.waitForFunction(() => document.querySelector("progress").value >= 20);
    await tab.reload();
    await tab.waitForFunction(() => document.querySelector("output").textContent === "100 %");
    await tab.click("#start");
    await tab.waitForFunction(() => document.querySelector("output").textContent === "10 %");
    await tab.click("#stop");
    await tab.waitForFunction(() => document.querySelector("output").textContent === "stopped");
  },
  "pages/notifications.ts": async (tab) => {
    await tab.waitForFunction(() => document.querySelector("output").textContent === "logged out");
    await tab.fill("[name=user]", "anna");
    await tab.click("#login button");
    await tab.waitForFunction(() => document.querySelector("output").textContent === "connected");
    await tab.fill("[name=to]", "anna");
    await tab.fill("[name=text]", "<b>lunch?</b>");
    await tab.click("#notify button");
    await tab.waitForFunction(() => document.querySelector("ul").textContent === "anna: <b>lunch?</b>");
    await tab.click("#logout");
    await tab.waitForFunction(() => document.querySelector("output").textContent === "logged out");
  },
  "pages/chat.ts": async (tab, url) => {
    const other = await tab.context().newPage();
    await other.goto(url);
    await tab.fill("[name=name]", "anna");
    await tab.fill("[name=text]", "hello");
    await tab.click("button");
    for (const page of [tab, other])
      await page.waitForFunction(() => document.querySelector("ul").textContent === "anna is hereanna: hello");
  },
};

for (const [file, visit] of Object.entries(visits)) {
  test(`${file}: its page does what it is for`, { skip, timeout: 60_000 }, async (t) => {
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", `examples/${file}`], {
      cwd: root,
      env: { ...process.env, PORT: "0" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    t.after(() => child.kill());
    const [url] = await once(createInterface(child.stdout), "line");
    const context = await browser.newContext();
    const tab = await context.newPage();
    tab.setDefaultTimeout(20_000);
    await tab.goto(url);
    try {
      await visit(tab, url);
      if (process.env.SCREENSHOTS)
        await tab.screenshot({ path: `${process.env.SCREENSHOTS}/${file.replace(/\W/g, "-")}.png` });
    } finally {
      await context.close();
    }
  });
}
