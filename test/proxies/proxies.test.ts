import { EventSource } from "eventsource";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { describeWith } from "../support/installed.js";
import { Gate, until } from "../support/stage.js";
import type { Change, ProxyName } from "./proxy.js";
import { behind, endless, failing, lockStep, nextEvent, open, type Source } from "./scene.js";

/** What differs from proxy to proxy. */
const proxies: {
  name: ProxyName;
  timeouts: Change[];
  cut: Change[] | undefined;
  compression: Change[];
  coding: string | null;
}[] = [
  {
    name: "nginx",
    timeouts: [["proxy_pass", "proxy_read_timeout 1s; send_timeout 1s; proxy_pass"]],
    // Over HTTP/1.0, its default towards the application, an answer that is cut looks like one that ended.
    cut: [["proxy_pass", "proxy_http_version 1.1; proxy_pass"]],
    compression: [["location / {", "location / { gzip on; gzip_types text/event-stream; gzip_min_length 0;"]],
    coding: "gzip",
  },
  {
    name: "haproxy",
    timeouts: [["60s", "1s"]],
    cut: [],
    compression: [
      ["default_backend", "compression algo gzip\n  compression type text/event-stream\n  default_backend"],
    ],
    // It heeds `no-transform`.
    coding: null,
  },
  {
    name: "caddy",
    // It has no limit of its own for a stream that is idle.
    timeouts: [],
    // Caddy 2.6 ends what was cut as if it had been whole; only `onError` tells the client.
    cut: undefined,
    compression: [
      [
        "reverse_proxy",
        "encode {\n minimum_length 0\n match header Content-Type text/event-stream*\n }\n reverse_proxy",
      ],
    ],
    coding: null,
  },
];

for (const { name, timeouts, cut, compression, coding } of proxies) {
  describeWith(name, `behind ${name}`, () => {
    test("each event arrives before there is another", async () => {
      // So many that even a fifth of a second for each, as HAProxy takes without its http-no-delay, would be too slow.
      const { source, follow } = lockStep(150);
      const { proxy, summaries } = await behind(name, source);
      const { frames } = await open(proxy);
      await follow(frames);
      await until(() => summaries.length === 1);
      expect(summaries[0]).toMatchObject({ reason: "completed", events: 150 });
    });

    test("the first event is there in under half a second", async () => {
      const { proxy } = await behind(name, endless);
      const times: number[] = [];
      for (let n = 0; n < 3; n++) {
        const start = performance.now();
        const { frames, leave } = await open(proxy);
        expect((await frames.next()).value).toBe("id: 1\ndata: hello");
        times.push(performance.now() - start);
        leave();
      }
      expect(Math.min(...times)).toBeLessThan(500);
    });

    test("the head arrives though there is no event yet", async () => {
      const gate = new Gate();
      const { proxy } = await behind(name, async function* () {
        await gate.opened;
        yield { data: "at last" };
      });
      const { response, frames } = await open(proxy);
      expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
      gate.open();
      expect((await frames.next()).value).toBe("data: at last");
    });

    test("compression in the proxy holds nothing back", async () => {
      const { source, follow } = lockStep(10);
      const { proxy } = await behind(name, source, {}, compression);
      const { response, frames } = await open(proxy);
      expect(response.headers.get("content-encoding")).toBe(coding);
      await follow(frames);
    });

    test("an event larger than any buffer arrives whole", async () => {
      const text = Array.from({ length: 20_000 }, (_, n) => `line ${n} ↵ é`).join("\n");
      const { proxy } = await behind(name, async function* () {
        yield { data: text };
      });
      const { frames } = await open(proxy);
      const { value } = await frames.next();
      expect((value as string).replaceAll(/^data: /gm, "")).toBe(text);
    });

    test("pings pass, and keep an idle stream open past the proxy's time-outs", async () => {
      const gate = new Gate();
      const source: Source = async function* () {
        await gate.opened;
        yield { data: "still here" };
      };
      const { proxy } = await behind(name, source, { pingInterval: 200 }, timeouts);
      const { frames } = await open(proxy);
      for (let n = 0; n < 8; n++) expect((await frames.next()).value).toBe(": ping");
      gate.open();
      await expect(nextEvent(frames)).resolves.toBe("data: still here");
    });

    test("a client's leaving reaches a generator that waits", async () => {
      const left = new Gate<unknown>();
      const { proxy, summaries } = await behind(name, async function* (stream) {
        try {
          yield* endless(stream);
        } finally {
          left.open(stream.signal.reason);
        }
      });
      const { frames, leave } = await open(proxy);
      await frames.next();
      leave();
      await expect(left.opened).resolves.toBe("disconnected");
      await until(() => summaries.length === 1);
      expect(summaries[0]).toMatchObject({ reason: "disconnected", events: 1 });
    });

    test("a restart of the proxy is resumed from the last event", async () => {
      const starts: (string | undefined)[] = [];
      const source: Source = async function* ({ lastEventId, signal }) {
        starts.push(lastEventId);
        for (let n = Number(lastEventId ?? 0) + 1; n <= 3 * starts.length; n++) yield { id: n, data: n };
        await sleep(2 ** 30, undefined, { signal });
      };
      const { proxy, summaries } = await behind(name, source, { retry: 50 });
      const got: string[] = [];
      const client = new EventSource(proxy.url, { fetch: proxy.fetch });
      onTestFinished(() => client.close());
      client.onmessage = ({ data }) => void got.push(data as string);
      await until(() => got.length === 3);
      await proxy.stop();
      await until(() => summaries.length === 1);
      await proxy.start();
      await until(() => got.length === 6);
      expect(got).toEqual(["1", "2", "3", "4", "5", "6"]);
      expect(starts).toEqual([undefined, "3"]);
    });

    test("what onError has for the client arrives before the end", async () => {
      const { source, fail } = failing();
      const { proxy, summaries } = await behind(name, source, {
        onError: () => ({ event: "failed", data: "try again" }),
      });
      const { frames } = await open(proxy);
      expect((await frames.next()).value).toBe("data: before");
      fail();
      expect((await frames.next()).value).toBe("event: failed\ndata: try again");
      await expect(frames.next()).resolves.toEqual({ done: true, value: undefined });
      await until(() => summaries.length === 1);
      expect(summaries).toMatchObject([{ reason: "error" }]);
    });

    if (cut !== undefined)
      test("without onError a source's failure is seen as one, not as an end", async () => {
        const { source, fail } = failing();
        const { proxy } = await behind(name, source, {}, cut);
        const { frames } = await open(proxy);
        expect((await frames.next()).value).toBe("data: before");
        fail();
        await expect(frames.next()).rejects.toThrow("terminated");
      });

    test("closing the server ends the streams", async () => {
      const { proxy, server, summaries } = await behind(name, endless);
      const { frames } = await open(proxy);
      await frames.next();
      const closed = new Promise((resolve) => server.close(resolve));
      await expect(frames.next()).resolves.toEqual({ done: true, value: undefined });
      await closed;
      expect(summaries).toMatchObject([{ reason: "shutdown" }]);
    });
  });
}

describeWith("caddy", "over HTTP/2, behind caddy", () => {
  test("a browser's limit of six connections is none: fifty streams share one, and leave it one by one", async () => {
    const gates = Array.from({ length: 50 }, () => new Gate());
    let next = 0;
    const { proxy, summaries } = await behind("caddy", async function* ({ signal }) {
      const n = next++;
      yield { data: n };
      await Promise.race([gates[n]?.opened, sleep(2 ** 30, undefined, { signal })]);
      yield { data: "go on" };
    });
    const streams = [];
    for (let n = 0; n < 50; n++) {
      const stream = await open(proxy);
      expect((await stream.frames.next()).value).toBe(`data: ${n}`);
      streams.push(stream);
    }
    for (const { leave } of streams.slice(1)) leave();
    await until(() => summaries.length === 49);
    expect(new Set(summaries.map(({ reason }) => reason))).toEqual(new Set(["disconnected"]));
    gates[0]?.open();
    expect((await streams[0]?.frames.next())?.value).toBe("data: go on");
  });
});
