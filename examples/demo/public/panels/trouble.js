import { onBackstage } from "../backstage.js";
import { takeConnection } from "../connections.js";
import { element } from "../panel.js";

const keptTicks = 60;

export function trouble(panel) {
  const ticks = panel.find(".ticks");
  const note = panel.find(".verdict");
  let isFirst = true;
  let stalled;

  function add(text, className) {
    ticks.append(element("li", text, className));
    while (ticks.childElementCount > keptTicks) ticks.firstElementChild.remove();
  }

  panel.onToggle(() => {
    ticks.replaceChildren();
    isFirst = true;
    panel.open(panel.wire.watch("/trouble"), {
      opened: () => {
        if (!isFirst) add("back", "back");
        isFirst = false;
      },
      message: (event) => add(JSON.parse(event.data).n),
      gap: () => add("gap", "gap"),
    });
  });
  panel.onPress("[data-kill]", () => panel.kill());
  panel.onPress("[data-restart]", async () => {
    note.textContent = "The server closes, forgets what it had in memory, and starts again.";
    await fetch("/trouble/restart", { method: "POST" });
  });
  panel.onPress("[data-stall]", async () => {
    stalled?.abort();
    stalled = new AbortController();
    const { signal } = stalled;
    note.textContent = "Waits for a free connection.";
    const giveBack = await takeConnection(signal).catch(() => undefined);
    if (giveBack === undefined) return;
    // One piece is read and then nothing more: the browser's buffers fill, then the server's.
    const response = await fetch("/trouble/flood", { signal });
    await response.body.getReader().read();
    note.textContent = "A client has stopped reading. The server waits 1.5 s for it.";
    signal.addEventListener("abort", giveBack);
  });
  onBackstage("log", ({ line }) => {
    if (!line.startsWith("trouble: the flood ended")) return;
    stalled?.abort();
    note.textContent = "The server has cut the client that read nothing.";
  });
}
