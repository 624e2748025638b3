import { expect, test } from "vitest";
import { runExample } from "../support/example.js";

const { url } = await runExample("datastar");

test("patches of signals and elements are sent as Datastar's protocol has them, a data line for each line of HTML", async () => {
  const response = await fetch(url, { method: "POST" });
  expect(response.headers.get("Content-Type")).toMatch(/^text\/event-stream\b/);
  const frames = (await response.text()).split("\n\n");
  expect(frames.slice(0, 2)).toEqual([
    'event: datastar-patch-signals\ndata: signals {"percent":25}',
    "event: datastar-patch-elements\ndata: selector #log\ndata: mode append\ndata: elements <li>25 %</li>",
  ]);
  expect(frames.slice(-2)).toEqual([
    'event: datastar-patch-elements\ndata: elements <p id="result">\ndata: elements   <strong>Done</strong>\ndata: elements </p>',
    "",
  ]);
});
