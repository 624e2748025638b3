/** The built library, as the package holds it. */
import { once } from "node:events";
import { createServer } from "node:http";

export const { eventSource, memoryBroker } = await import("../../dist/index.js");

/** A promise that is resolved from outside. */
export function gate() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  return { open, opened };
}

/** Listens on a port of the system's choice. */
export async function listen(app, server = createServer(app)) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

/** Reads the body of a `fetch` response as text that grows. */
export function reader(response) {
  const chunks = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    /** Resolves with all that has come when `part` is among it. */
    async until(part) {
      while (!text.includes(part)) {
        const { done, value } = await chunks.read();
        if (done) throw new Error(`The stream ended before ${JSON.stringify(part)}: ${JSON.stringify(text)}`);
        text += value;
      }
      return text;
    },
    async rest() {
      for (;;) {
        const { done, value } = await chunks.read();
        if (done) return text;
        text += value;
      }
    },
    cancel: () => chunks.cancel(),
  };
}

/** Routes that show whether streams work below a middleware, and what they were heard to say. */
export function routes(app, json) {
  const heard = { summaries: [], released: gate(), closed: gate() };
  const second = gate();
  const third = gate();
  heard.next = { second, third };
  const onClose = (summary) => {
    heard.summaries.push(summary);
    heard.closed.open(summary);
  };
  app.get(
    "/steps",
    eventSource(
      async function* () {
        yield { id: 1, event: "step", data: { n: 1 } };
        await second.opened;
        yield { id: 2, event: "step", data: { n: 2 } };
        await third.opened;
        yield { id: 3, event: "step", data: { n: 3 } };
      },
      { onClose },
    ),
  );
  app.get(
    "/endless",
    eventSource(
      async function* (_req, { signal }) {
        try {
          yield "first";
          await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        } finally {
          heard.released.open();
        }
      },
      { onClose },
    ),
  );
  app.post(
    "/echo",
    json,
    eventSource((req) => req.body.words),
  );
  app.get(
    "/fails",
    eventSource(() => {
      throw Object.assign(new Error("secret"), { status: 503 });
    }),
  );
  app.get(
    "/nothing",
    eventSource(() => null),
  );
  app.use((error, _req, res, _next) => {
    if (!res.headersSent) res.status(error.status ?? 500).send("the application's own words");
  });
  return heard;
}
