// The three fates of an error: an HTTP error, an event that says what the client may know, or a cut connection.
//
//     curl -i http://localhost:3000/before
//     curl -N http://localhost:3000/told
//     curl -N http://localhost:3000/cut
import type { AddressInfo } from "node:net";
import express, { type NextFunction, type Request, type Response } from "express";
import { eventSource } from "express-event-source";

const app = express();

// Before the first event nothing has been sent: the error handler below answers.
app.get(
  "/before",
  eventSource(async () => {
    throw Object.assign(new Error("No such report"), { status: 404 });
  }),
);

async function* report() {
  yield { data: "line 1" };
  throw new Error("the password of the database is wrong");
}

// The error's own text never reaches the client by itself.
app.get(
  "/told",
  eventSource(report, {
    onError: (error) => {
      console.log("logged: %s", error);
      return { event: "failure", data: { message: "The report could not be finished.", retryable: true } };
    },
  }),
);

// Without onError a cut connection tells even a fetch client that this was not the end; the error goes to `next`.
app.get("/cut", eventSource(report));

app.use((error: Error & { status?: number }, _req: Request, res: Response, next: NextFunction) => {
  console.log("error handler: %s", error.message);
  if (res.headersSent) next(error);
  else res.status(error.status ?? 500).json({ error: error.message });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/before", (server.address() as AddressInfo).port);
});
