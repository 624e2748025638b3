import { element } from "../panel.js";

export function resume(panel) {
  const parts = panel.find(".parts");
  const verdict = panel.find(".verdict");
  let got = [];
  let connections = 0;

  function judge(ending = "") {
    const missing = got.length === 0 ? 0 : Math.max(...got) - new Set(got).size;
    const twice = got.length - new Set(got).size;
    verdict.textContent = `${got.length} parts over ${connections} connection${connections === 1 ? "" : "s"}, ${missing} missing, ${twice} twice${ending}`;
  }

  panel.onToggle(() => {
    parts.replaceChildren();
    got = [];
    connections = 0;
    panel.open(panel.wire.watch("/resume"), {
      opened: () => (connections += 1),
      message: (event) => {
        const { part } = JSON.parse(event.data);
        got.push(part);
        parts.append(element("li", part, connections % 2 === 0 ? "even" : "odd"));
        judge();
      },
      stopped: () => judge(". The server said 204: nothing is left."),
    });
  });
  panel.onPress("[data-kill]", () => panel.kill());
}
