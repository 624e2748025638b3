import { post } from "../panel.js";

// The answer's id is in the address, so a reload, or a second tab, finds the same answer.
export function answer(panel) {
  const text = panel.find(".text");
  const verdict = panel.find(".verdict");
  const link = panel.find("a");
  let ids = [];
  let watched;

  function judge(ending = "") {
    verdict.textContent = `${ids.length} tokens, ${ids.length - new Set(ids).size} twice${ending}`;
  }

  function watch(id) {
    watched = id;
    link.hidden = false;
    link.href = `#answer=${id}`;
    text.textContent = "";
    verdict.textContent = "";
    ids = [];
    panel.open(panel.wire.watch(`/answer/${id}`), {
      message: (event) => {
        ids.push(event.lastEventId);
        text.append(event.data);
        judge();
      },
      gap: () => {
        panel.close("ended");
        judge(". The server has started anew, and the rest is gone.");
      },
      stopped: () => {
        if (ids.length > 0) return judge(". The server said 204: that was all.");
        link.hidden = true;
        verdict.textContent = "This answer is gone: the server does not know it any more. Ask again for another one.";
      },
    });
  }

  panel.onToggle(async () => {
    try {
      const response = await post("/answer", { prompt: panel.find("input").value });
      const { id } = await response.json();
      history.replaceState(null, "", `#answer=${id}`);
      watch(id);
    } catch (error) {
      verdict.textContent = error.message;
    }
  });

  // Every tab that watches gets the end: what came is all that there is.
  panel.onPress("[data-stop]", () => fetch(`/answer/${watched}`, { method: "DELETE" }));

  const [, id] = /^#answer=([\w.-]+)$/.exec(location.hash) ?? [];
  if (id !== undefined) watch(id);
}
