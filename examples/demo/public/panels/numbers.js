import { element } from "../panel.js";

export function numbers(panel) {
  const list = panel.find(".numbers");

  panel.onToggle(() => {
    list.replaceChildren();
    panel.open(panel.wire.watch("/numbers"), {
      message: (event) => list.append(element("li", JSON.parse(event.data).n)),
      done: (event) => {
        list.append(element("li", `done: ${event.data}`, "done"));
        panel.close("ended");
      },
    });
  });
}
