// Other line endings, for parsers that insist on them. They hold for every frame, pings included.
//
//     curl -sN http://localhost:3000/crlf | od -c
import type { AddressInfo } from "node:net";
import express from "express";
import { eventSource } from "express-event-source";

const app = express();
const poem = [{ event: "verse", data: "two\nlines" }];

app.get("/lf", eventSource(poem));
app.get("/crlf", eventSource(poem, { lineEnding: "\r\n" }));
// Legal, but some parsers hold each event back until the byte after it.
app.get("/cr", eventSource(poem, { lineEnding: "\r" }));

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/crlf", (server.address() as AddressInfo).port);
});
