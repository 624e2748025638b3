import { onBackstage } from "../backstage.js";
import { element } from "../panel.js";

const keptTicks = 60;

export function trouble(panel) {
  const ticks = panel.find(".ticks");
  const note = panel.find(".verdict");
  let isFirst = true;

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
    note.textContent = "A client has stopped reading. The server waits 1.5 s for it.";
    await fetch("/trouble/stall", { method: "POST" });
  });
  onBackstage("log", ({ line }) => {
    if (line.startsWith("trouble: the flood ended"))
      note.textContent = "The server has cut the client that read nothing.";
  });
}
