// CommonJS, with Express 4 or 5: in an application of your own, node runs it as it is.
//
//     curl -N http://localhost:3000/numbers
//     curl -N http://localhost:3000/orders/7
const { setTimeout: sleep } = require("node:timers/promises");
const express = require("express");
const { eventSource } = require("express-event-source");

const app = express();

// As a route handler, a stream passes its errors to next by itself, under both versions.
app.get(
  "/numbers",
  eventSource(async function* (_req, { signal }) {
    for (let n = 1; n <= 3; n++) {
      yield { id: n, data: { n } };
      await sleep(100, undefined, { signal });
    }
  }),
);

// Express 4 ignores the promise of an async handler, so errors of your own code have to be caught and passed on.
app.get("/orders/:id", async (req, res, next) => {
  try {
    const order = await load(req.params.id);
    await eventSource(order.steps)(req, res, next);
  } catch (error) {
    next(error);
  }
});

async function load(id) {
  if (id !== "7") throw Object.assign(new Error("No such order"), { status: 404 });
  return { steps: ["received", "packed", "sent"] };
}

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/numbers", server.address().port);
});
