// A job whose progress any number of pages can watch, reload, and stop. Open http://localhost:3000/ in a browser.
//
//     curl -i -X POST http://localhost:3000/jobs/1
//     curl -N http://localhost:3000/jobs/1
//     curl -X DELETE http://localhost:3000/jobs/1
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { eventSource, memoryBroker } from "express-event-source";

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>A job</title>
<h1>A job</h1>
<p><label>Progress <progress max="100" value="0"></progress></label> <output></output></p>
<button id="start">Start</button> <button id="stop">Stop</button>
<script type="module">
  const [bar, state] = document.querySelectorAll("progress, output");
  let id = location.hash.slice(1);
  document.getElementById("start").onclick = async () => {
    id = crypto.randomUUID();
    location.hash = id; // a reload finds the same job
    await fetch("/jobs/" + id, { method: "POST" });
    watch();
  };
  document.getElementById("stop").onclick = () => fetch("/jobs/" + id, { method: "DELETE" });
  function watch() {
    const source = new EventSource("/jobs/" + id);
    source.addEventListener("progress", ({ data }) => {
      bar.value = JSON.parse(data).percent;
      state.textContent = bar.value + " %";
    });
    source.addEventListener("failed", () => (state.textContent = "failed"));
    source.onerror = () => {
      // 204: the job is over, and the page has seen all of it.
      if (source.readyState === EventSource.CLOSED && bar.value < 100) state.textContent = "stopped";
    };
  }
  if (id !== "") watch();
</script>
</html>`;

interface Progress {
  event: "progress" | "failed";
  data: { percent: number } | "";
}

const jobs = memoryBroker<Progress>();
const app = express();

async function* work(signal: AbortSignal) {
  for (let percent = 10; percent <= 100; percent += 10) {
    await sleep(100, undefined, { signal });
    yield { event: "progress" as const, data: { percent } };
  }
}

app.get("/", (_req, res) => res.send(page));

app.post("/jobs/:id", async (req, res) => {
  // Started twice, it runs once: the second call gets undefined.
  const run = await jobs.produce(`job:${req.params.id}`, ({ signal }) => work(signal));
  run?.done.then((outcome) => console.log("the job is %s", outcome), console.error);
  res.sendStatus(run === undefined ? 200 : 201);
});

app.get(
  "/jobs/:id",
  eventSource<{ id: string }>((req, stream) => jobs.subscribe(`job:${req.params.id}`, { ...stream, from: "start" }), {
    retry: 500,
  }),
);

app.delete("/jobs/:id", async (req, res) => {
  res.json({ stopped: await jobs.stop(`job:${req.params.id}`) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/", (server.address() as AddressInfo).port);
});
