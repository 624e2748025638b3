import { post } from "../panel.js";

// The answer's id is in the address, so a reload, or a second tab, finds the same answer.
export function answer(panel) {
  const text = panel.find(".text");
  const verdict = panel.find(".verdict");
  const link = panel.find("a");
  let ids, watched, isWhole, killedAt;

  function judge(ending = "") {
    verdict.textContent = `${ids.length} tokens, ${ids.length - new Set(ids).size} twice${ending}`;
  }

  /** Shows how the answer has ended, and offers another one. */
  function end(state, ending) {
    panel.close(state);
    panel.find("[data-toggle]").textContent = "Ask again";
    if (ids.length > 0) return judge(ending);
    link.hidden = true;
    verdict.textContent = "This answer is gone: the server does not know it any more. Ask again for another one.";
  }

  function watch(id) {
    watched = id;
    link.hidden = false;
    link.href = `#answer=${id}`;
    text.textContent = "";
    verdict.textContent = "";
    ids = [];
    isWhole = false;
    killedAt = undefined;
    panel.open(panel.wire.watch(`/answer/${id}`), {
      message: (event) => {
        ids.push(event.lastEventId);
        text.append(event.data);
        if (killedAt === undefined) judge();
      },
      done: () => (isWhole = true),
      lost: () => {
        const seconds = (performance.now() - killedAt) / 1_000;
        end(
          "lost",
          `, then “lost”${killedAt === undefined ? "" : `, ${seconds.toFixed(1)} s after the process died`}.`,
        );
      },
      failed: () => end("ended", ". The model failed."),
      gap: () => end("ended", ". The server does not have the rest any more."),
      stopped: () =>
        end("ended", isWhole ? ". The server said 204: that was all." : ". Stopped: 204, and no token more."),
    });
  }

  panel.onToggle(async () => {
    panel.state = "connecting";
    verdict.textContent = "The process that writes answers is being started where there is none.";
    try {
      const response = await post("/answer", { prompt: panel.find("input").value });
      const { id } = await response.json();
      history.replaceState(null, "", `#answer=${id}`);
      watch(id);
    } catch (error) {
      panel.state = "idle";
      verdict.textContent = error.message;
    }
  });

  // Every tab that watches gets the end: what came is all that there is.
  panel.onPress("[data-stop]", () => fetch(`/answer/${watched}`, { method: "DELETE" }));

  panel.onPress("[data-kill]", async () => {
    const response = await fetch("/answer/kill", { method: "POST" });
    const { pid } = await response.json();
    killedAt = performance.now();
    judge(`. Process ${pid} is dead and has told nobody. When its lease of 2 s is over the server knows.`);
  });

  const [, id] = /^#answer=([\w.-]+)$/.exec(location.hash) ?? [];
  if (id !== undefined) watch(id);
}
