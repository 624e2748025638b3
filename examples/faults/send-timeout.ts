// A frozen client is dropped. Here curl's output goes to a program that never reads it; after a second of
// full buffers the server gives it up and stops its source.
//
//     curl -sN http://localhost:3000/flood | sleep 60
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();

function* flood() {
  try {
    for (let n = 0; ; n++) yield { id: n, data: "x".repeat(10_000) };
  } finally {
    console.log("source stopped");
  }
}

app.get(
  "/flood",
  eventSource(flood, {
    sendTimeout: 1_000,
    onClose: ({ reason, bytes, duration }) => {
      console.log("dropped: %s after %d ms and %d MB", reason, Math.round(duration), Math.round(bytes / 1e6));
    },
  }),
);

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/flood", (server.address() as AddressInfo).port);
});
