import { PGlite } from "@electric-sql/pglite";
import { connect } from "node:net";
import { expect, test, vi } from "vitest";
import { runExample } from "./support/example.js";
import { until } from "./support/stage.js";

const query = vi.spyOn(PGlite.prototype, "query");
const { url, printed } = await runExample("database");

const from = (lastEventId: number, signal?: AbortSignal): Promise<Response> =>
  fetch(url, { headers: { "Last-Event-ID": String(lastEventId) }, ...(signal ? { signal } : {}) });

const openCursors = async (): Promise<string[]> => (await (await fetch(new URL("/cursors", url))).json()) as string[];

/** How often rows have been fetched. */
const fetches = (): number => query.mock.calls.filter(([sql]) => sql.startsWith("FETCH")).length;

test("a client that comes back gets the rows after its last one, and the cursor is closed at the end", async () => {
  const response = await from(19_998);
  const text = JSON.stringify("bla ".repeat(200));
  expect(await response.text()).toBe(
    `id: 19999\ndata: {"title":"Article 19999","text":${text}}\n\nid: 20000\ndata: {"title":"Article 20000","text":${text}}\n\n`,
  );
  await until(() => printed.includes("articles_1 closed"));
  expect(await openCursors()).toEqual([]);
});

test("a client that has everything is told not to come back", async () => {
  expect((await from(20_000)).status).toBe(204);
});

test("a client that leaves in the middle has its cursor closed", async () => {
  const leave = new AbortController();
  const { body } = await from(0, leave.signal);
  await (body as ReadableStream).getReader().read();
  leave.abort();
  await until(() => printed.includes("articles_2 closed"));
  expect(await openCursors()).toEqual([]);
});

test("a client that reads nothing stops the fetching, while others get their rows", async () => {
  const { hostname, port, pathname } = new URL(url);
  const frozen = connect(Number(port), hostname);
  frozen.pause().write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  await vi.waitFor(async () => expect(await openCursors()).toEqual(["articles_3"]), 10_000);
  // Each answer takes two fetches of its own; when there are no more, the frozen client's have stopped.
  await vi.waitFor(async () => {
    const before = fetches();
    expect(await (await from(19_999)).text()).toContain("Article 20000");
    expect(fetches()).toBe(before + 2);
  }, 10_000);
  expect(fetches()).toBeLessThan(200);
  expect(await openCursors()).toEqual(["articles_3"]);
  frozen.destroy();
  await until(() => printed.includes("articles_3 closed"));
  expect(await openCursors()).toEqual([]);
});
