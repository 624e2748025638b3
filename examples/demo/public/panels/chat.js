import { element, post } from "../panel.js";

export function chat(panel) {
  const form = panel.find("form");
  const messages = panel.find(".messages");
  const { name, room, text } = form.elements;

  function add(author, words, className) {
    const item = element("li", words, className);
    item.prepend(element("b", author));
    messages.append(item);
  }

  function join() {
    messages.replaceChildren();
    panel.open(panel.wire.watch(`/chat/${room.value}`), {
      gap: () => add("", "The server has started anew; what was said before is gone.", "gap"),
      said: (event) => {
        const said = JSON.parse(event.data);
        add(said.name, said.text, said.name === name.value ? "mine" : "");
      },
    });
  }

  async function send() {
    try {
      await post(`/chat/${room.value}`, { name: name.value, text: text.value });
      text.value = "";
    } catch (error) {
      add("", error.message, "gap");
    }
  }

  panel.onToggle(join);
  room.onchange = () => panel.isOn && join();
  form.onsubmit = () => {
    if (!panel.isOn) join();
    send();
  };
  text.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  };
}
