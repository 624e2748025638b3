import { isListening } from "../backstage.js";
import { takeConnection } from "../connections.js";

// Two clients of one route: an EventSource, which hides comments from the page, and fetch, which hides nothing.
export function ping(panel) {
  const seenEvents = panel.find("[data-seen-events]");
  const seenPings = panel.find("[data-seen-pings]");
  const wirePings = panel.find("[data-wire-pings]");
  let reading = new AbortController();

  async function readTheWire(signal) {
    await isListening;
    const giveBack = await takeConnection(signal);
    try {
      panel.wire.show("request", "GET /ping  (fetch)");
      const response = await fetch("/ping", { signal });
      panel.wire.show("head", `${response.status} ${response.statusText}`);
      const texts = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = await texts.read(); !text.done; text = await texts.read()) {
        panel.wire.show("frames", text.value);
        count(wirePings, text.value.split(": this ping").length - 1);
      }
    } finally {
      giveBack();
    }
  }

  /** What EventSource does by itself: a stream that ends is asked for again. */
  async function keepReading(signal) {
    while (!signal.aborted) {
      await readTheWire(signal).catch((error) => {
        if (signal.aborted) throw error;
      });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }

  panel.onPress("[data-toggle]", () => {
    reading.abort();
    if (panel.isOn) return panel.close();
    reading = new AbortController();
    for (const number of [seenEvents, seenPings, wirePings]) number.textContent = "0";
    // Were a ping an event, it would be one of these.
    panel.open("/ping", {
      sand: () => count(seenEvents),
      message: () => count(seenPings),
      ping: () => count(seenPings),
    });
    keepReading(reading.signal).catch(() => panel.close());
  });
}

function count(number, more = 1) {
  number.textContent = Number(number.textContent) + more;
}
