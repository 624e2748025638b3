import { element } from "../panel.js";

export function orders(panel) {
  const rows = panel.find(".rows");
  const events = panel.find(".events");
  const verdict = panel.find(".verdict");
  let rolledBack = [];

  const chip = ({ id, item }) => element("li", `${id} ${item}`);

  async function showTable() {
    const response = await fetch("/orders/table");
    rows.replaceChildren(...(await response.json()).map(chip));
  }

  function judge() {
    if (rolledBack.length === 0) return;
    verdict.textContent = `Rolled back: ${rolledBack.join(", ")}. Neither a row nor an event.`;
  }

  panel.onToggle(() => {
    events.replaceChildren();
    panel.open(panel.wire.watch("/orders"), {
      opened: showTable,
      order: (event) => {
        events.append(chip(JSON.parse(event.data)));
        showTable();
      },
    });
  });
  panel.onPress("[data-order]", () => fetch("/orders", { method: "POST" }));
  panel.onPress("[data-roll-back]", async () => {
    const response = await fetch("/orders/rolled-back", { method: "POST" });
    const { id, item } = await response.json();
    rolledBack.push(`${id} ${item}`);
    await showTable();
    judge();
  });
}
