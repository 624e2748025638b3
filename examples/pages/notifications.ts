// Notifications for the user of a session, who may have several pages open. Open http://localhost:3000/ in a browser.
//
//     curl -c jar -d user=anna http://localhost:3000/login
//     curl -N -b jar http://localhost:3000/notifications
//     curl -b jar --json '{ "text": "hello" }' http://localhost:3000/notify/anna
//     curl -b jar -X POST http://localhost:3000/logout
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import express, { type RequestHandler } from "express";
import { eventSource, memoryBroker } from "express-event-source";

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Notifications</title>
<h1>Notifications</h1>
<form id="login" action="/login" method="post">
  <label>Your name <input name="user" required></label> <button>Log in</button>
</form>
<form id="notify" hidden>
  <label>To <input name="to" required></label> <label>Text <input name="text" required></label>
  <button>Notify</button> <button id="logout" type="button">Log out</button>
</form>
<output></output>
<ul></ul>
<script type="module">
  const [login, notify] = document.forms;
  const list = document.querySelector("ul");
  const state = document.querySelector("output");
  const source = new EventSource("/notifications"); // sends the cookie of the session by itself
  source.onopen = () => {
    login.hidden = true;
    notify.hidden = false;
    state.textContent = "connected";
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return void (state.textContent = "reconnecting");
    // 401: there is no session, or no longer.
    login.hidden = false;
    notify.hidden = true;
    list.replaceChildren();
    state.textContent = "logged out";
  };
  source.addEventListener("notification", ({ data }) => {
    const { from, text } = JSON.parse(data);
    list.append(Object.assign(document.createElement("li"), { textContent: from + ": " + text }));
  });
  source.addEventListener("gap", () => list.replaceChildren()); // all that is left comes next
  notify.onsubmit = async (event) => {
    event.preventDefault();
    const { to, text } = Object.fromEntries(new FormData(notify));
    await fetch("/notify/" + encodeURIComponent(to), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text }),
    });
    notify.elements.text.value = "";
  };
  document.getElementById("logout").onclick = () => fetch("/logout", { method: "POST" });
</script>
</html>`;

interface Notification {
  event: "notification";
  data: { from: string; text: string };
}

/** A session, and what ends its streams when it ends. */
interface Session {
  readonly user: string;
  readonly ended: AbortController;
}

const sessions = new Map<string, Session>();
const broker = memoryBroker<Notification>({ history: { maxEvents: 100, maxAge: 24 * 60 * 60_000 } });
const app = express();

const idOf = (cookies = "") => /(?:^|; )session=([^;]*)/.exec(cookies)?.[1] ?? "";

const authenticate: RequestHandler<any> = (req, res, next) => {
  res.locals.session = sessions.get(idOf(req.get("Cookie")));
  if (res.locals.session === undefined) return void res.sendStatus(401); // stops an EventSource for good
  next();
};

app.get("/", (_req, res) => res.send(page));

// A real application asks for a password here.
app.post("/login", express.urlencoded({ extended: false }), (req, res) => {
  const id = randomUUID();
  sessions.set(id, { user: String(req.body.user), ended: new AbortController() });
  res.cookie("session", id, { httpOnly: true, sameSite: "lax" }).redirect(303, "/"); // and `secure` behind HTTPS
});

app.post("/logout", authenticate, (req, res) => {
  sessions.delete(idOf(req.get("Cookie")));
  (res.locals.session as Session).ended.abort(); // its streams end; each EventSource comes back, and gets 401
  res.sendStatus(204);
});

// The channel's name comes from the session, never from the request: nobody can read what is meant for somebody else.
app.get(
  "/notifications",
  authenticate,
  eventSource(
    (_req, stream) => {
      const { user, ended } = stream.response.locals.session as Session;
      const signal = AbortSignal.any([stream.signal, ended.signal]);
      return broker.subscribe(`user:${user}`, { ...stream, signal, from: "start" });
    },
    { retry: 500, maxDuration: 15 * 60_000 },
  ),
);

app.post("/notify/:user", authenticate, express.json(), async (req, res) => {
  const data = { from: (res.locals.session as Session).user, text: String(req.body.text) };
  res.status(201).json({ id: await broker.publish(`user:${req.params.user}`, { event: "notification", data }) });
});

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log("http://localhost:%d/", (server.address() as AddressInfo).port);
});
