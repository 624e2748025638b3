// Datastar: events that patch elements and signals of the page, as the answer to an action such as @get or @post.
// Open http://localhost:3000/ in a browser.
//
//     curl -N http://localhost:3000/upload -X POST
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource, type ServerSentEvent } from "express-event-source";

interface PatchOptions {
  readonly selector?: string;
  readonly mode?: "outer" | "inner" | "replace" | "prepend" | "append" | "before" | "after" | "remove";
}

/** Patches elements of the page: those with the ids of `html`, or those that the selector names. */
function patchElements(html: string, options: PatchOptions = {}): ServerSentEvent {
  const lines = [...Object.entries(options), ...html.split("\n").map((line) => ["elements", line])];
  return { event: "datastar-patch-elements", data: lines.map((line) => line.join(" ")).join("\n") };
}

/** Patches the page's signals. */
function patchSignals(signals: object): ServerSentEvent {
  return { event: "datastar-patch-signals", data: `signals ${JSON.stringify(signals)}` };
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>An upload</title>
<script type="module" src="https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.2/bundles/datastar.js"></script>
<main>
  <h1>An upload</h1>
  <button data-on:click="@post('/upload')">Upload</button>
  <progress aria-label="Progress" max="100" data-signals:percent="0" data-attr:value="$percent"></progress>
  <ol id="log"></ol>
  <p id="result"></p>
</main>
</html>`;

const app = express();

app.get("/", (_req, res) => res.send(page));

app.post(
  "/upload",
  eventSource(async function* (_req, { signal }) {
    for (let percent = 25; percent <= 100; percent += 25) {
      await sleep(100, undefined, { signal });
      yield patchSignals({ percent });
      yield patchElements(`<li>${percent} %</li>`, { selector: "#log", mode: "append" });
    }
    yield patchElements('<p id="result">\n  <strong>Done</strong>\n</p>');
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/upload", (server.address() as AddressInfo).port);
});
