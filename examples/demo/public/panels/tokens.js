import { EventSourceParserStream } from "/vendor/eventsource-parser/stream.js";
import { element, post } from "../panel.js";

// EventSource can only GET. For a POST, fetch reads the same format, with a parser of 2 kB.
export function tokens(panel) {
  const answer = panel.find(".text");
  let asking = new AbortController();

  async function ask(prompt, signal) {
    answer.textContent = "";
    if ((await panel.connect()) === undefined) return;
    const response = await post(panel.wire.watch("/tokens"), { prompt }, signal);
    panel.state = "open";
    const events = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    let isDone = false;
    for (let event = await events.read(); !event.done; event = await events.read()) {
      isDone = event.value.event === "done";
      if (isDone) answer.append(element("strong", `${JSON.parse(event.value.data).tokens} tokens`));
      else answer.append(event.value.data);
    }
    if (!isDone) answer.append(element("strong", "the server ended before the answer did"));
    panel.close(isDone ? "ended" : "stopped");
  }

  panel.onPress("[data-toggle]", () => {
    // To abort the fetch is to close its connection: that is all that the server needs.
    asking.abort();
    if (panel.isOn) return panel.close("stopped");
    asking = new AbortController();
    const { signal } = asking;
    ask(panel.find("input").value, signal).catch((error) => {
      if (signal.aborted) return;
      answer.textContent = error.message;
      panel.close("ended");
    });
  });
}
