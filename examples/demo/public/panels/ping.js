import { isListening } from "../backstage.js";
import { takeConnection } from "../connections.js";

// Two clients of one route: an EventSource, which hides comments from the page, and fetch, which hides nothing.
export function ping(panel) {
  const seen = panel.find("[data-seen]");
  const pings = panel.find("[data-pings]");
  let reading = new AbortController();

  async function readTheWire(signal) {
    await isListening;
    const giveBack = await takeConnection(signal);
    try {
      panel.wire.show("request", "GET /ping  (fetch)");
      const response = await fetch("/ping", { signal });
      panel.wire.show("head", `${response.status} ${response.statusText}`);
      for await (const text of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
        panel.wire.show("frames", text);
        pings.textContent = Number(pings.textContent) + text.split("\n: this ping").length - 1;
      }
    } finally {
      giveBack();
    }
  }

  panel.onPress("[data-toggle]", () => {
    reading.abort();
    if (panel.isOn) return panel.close();
    reading = new AbortController();
    seen.textContent = pings.textContent = "0";
    panel.open("/ping", { sand: () => (seen.textContent = Number(seen.textContent) + 1) });
    readTheWire(reading.signal).catch(() => panel.close());
  });
}

async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
