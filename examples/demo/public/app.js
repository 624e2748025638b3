import { onBackstage } from "./backstage.js";
import { onConnections } from "./connections.js";
import { element, follow, Panel } from "./panel.js";
import { answer } from "./panels/answer.js";
import { chat } from "./panels/chat.js";
import { numbers } from "./panels/numbers.js";
import { orders } from "./panels/orders.js";
import { ping } from "./panels/ping.js";
import { prices } from "./panels/prices.js";
import { resume } from "./panels/resume.js";
import { tokens } from "./panels/tokens.js";
import { trouble } from "./panels/trouble.js";

const panels = {};
for (const [id, start] of Object.entries({ numbers, ping, tokens, resume, prices, chat, answer, orders, trouble })) {
  panels[id] = new Panel(document.getElementById(id));
  start(panels[id]);
}

for (const list of document.querySelectorAll("[data-follow]")) follow(list);

// The page lives at once: with the numbers, or with what a second tab was opened for.
const [, first = "numbers"] = /^#(prices|answer)\b/.exec(location.hash) ?? [];
if (!panels[first].isOn) panels[first].find("[data-toggle]").click();

// Each of these takes one connection, so that with the numbers nothing has to wait for a free one.
document.getElementById("start-more").onclick = () => {
  for (const id of ["tokens", "resume", "prices"]) {
    if (!panels[id].isOn) panels[id].find("[data-toggle]").click();
  }
};

onConnections((count) => {
  const meter = document.getElementById("connections");
  meter.querySelector("span").textContent = String(count);
  [...meter.querySelectorAll("i")].forEach((dot, index) => dot.classList.toggle("on", index < count));
});

const lastLine = document.getElementById("last-line");
const log = document.getElementById("log");
onBackstage("log", ({ line, time }) => {
  lastLine.textContent = line;
  const item = element("li", line);
  item.prepend(element("time", new Date(time).toLocaleTimeString("en-GB")));
  log.append(item);
  while (log.childElementCount > 200) log.firstElementChild.remove();
  // A panel shows what the server says about it, too.
  const own = document.querySelector(`#${window.CSS.escape(line.split(":", 1)[0])} .own-log`);
  own?.append(element("li", line.slice(line.indexOf(":") + 2)));
  while (own?.childElementCount > 4) own.firstElementChild.remove();
});
