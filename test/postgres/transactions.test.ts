import { setTimeout as sleep } from "node:timers/promises";
import { encodeEvent, EventStreamError } from "express-event-source";
import { postgresBroker, type PostgresBroker } from "express-event-source/postgres";
import { Client, type Pool, type PoolClient } from "pg";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { publishMany, read } from "../broker/contract.js";
import { dataOf } from "../broker/reader.js";
import { Gate } from "../support/stage.js";
import { announced } from "./announced.js";
import { describeWithPostgres } from "./postgres-server.js";

describeWithPostgres(
  "the application's transactions",
  (postgres) => {
    let pool: Pool;
    let broker: PostgresBroker;
    let schema = "";
    let number = 0;
    beforeAll(() => void (pool = postgres.pool()));
    beforeEach(async () => {
      schema = `transactions ${number++}`;
      broker = postgresBroker({ pool, schema });
      await broker.migrate();
      onTestFinished(() => broker.close());
    });

    async function begin(isolation = "READ COMMITTED"): Promise<PoolClient> {
      const client = await pool.connect();
      onTestFinished(() => client.query("ROLLBACK").then(() => client.release()));
      await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
      return client;
    }

    const held = async (channel: string) => {
      await broker.publish(channel, { data: "last" });
      const reader = await read(broker, channel, { from: "start" });
      const events: unknown[] = [];
      while (events.at(-1) !== "last") events.push(...dataOf(await reader.take(1)));
      await reader.return();
      return events.slice(0, -1);
    };

    describe("an event published in one", () => {
      it("exists if and only if it commits, before what is published directly after that", async () => {
        const reader = await read(broker, "a");
        const [rolledBack, committed] = [await begin(), await begin()];
        expect(await broker.publish("a", { data: "never" }, { client: rolledBack })).toBeUndefined();
        await broker.publish("a", { data: 1 }, { client: committed });
        await broker.publish("a", { data: "direct" });
        await broker.publish("a", { data: 2 }, { client: committed });
        await rolledBack.query("ROLLBACK");
        await committed.query("COMMIT");
        await broker.publish("a", { data: "after" });
        await reader.expectNext("direct", 1, 2, "after");
      });

      it("reaches those who are subscribed without another publish", async () => {
        const reader = await read(broker, "a");
        const next = reader.expectNext({ n: "1" }, 2);
        const client = await begin();
        await publishMany(broker, "b", 1);
        await broker.publish("a", { event: "e", data: { n: 1n.toString() } }, { client });
        await broker.publish("a", { data: 2 }, { client });
        await client.query("COMMIT");
        await next;
      });

      it("is not new to who subscribes after the commit", async () => {
        const client = await begin();
        await broker.publish("a", { data: "old" }, { client });
        await client.query("COMMIT");
        const [now, start] = [await read(broker, "a"), await read(broker, "a", { from: "start" })];
        await broker.publish("a", { data: "new" });
        await now.expectNext("new");
        await start.expectNext("old", "new");
      });

      it("goes with the savepoint to which it is rolled back", async () => {
        const client = await begin();
        await broker.publish("a", { data: 1 }, { client });
        await client.query("SAVEPOINT s");
        await broker.publish("a", { data: "never" }, { client });
        await client.query("ROLLBACK TO s");
        await broker.publish("a", { data: 2 }, { client });
        await client.query("COMMIT");
        expect(await held("a")).toEqual([1, 2]);
      });

      it("is committed at once where no transaction is open", async () => {
        const client = await pool.connect();
        onTestFinished(() => client.release());
        await broker.publish("a", { data: 1 }, { client });
        expect(await held("a")).toEqual([1]);
      });

      it("is seen by the sweep at the latest, where nobody listens", async () => {
        const quick = postgresBroker({ pool, schema, history: { maxAge: 400 } });
        onTestFinished(() => quick.close());
        const client = await begin();
        await quick.publish("a", { data: 1 }, { client });
        await client.query("COMMIT");
        const pending = async () => (await pool.query(`SELECT FROM "${schema}".pending`)).rowCount;
        await expect.poll(pending).toBe(0);
      });

      it("reaches those who are subscribed also where it commits while all channels are being checked", async () => {
        const [checked, heard, goOn] = [new Gate(), new Gate(), new Gate()];
        const { query } = Client.prototype as unknown as { query: (question: { text?: string }) => Promise<unknown> };
        const spy = vi.spyOn(Client.prototype, "query").mockImplementation(function (this: Client, ...args: unknown[]) {
          const [question] = args as [{ text?: string }];
          const answer = query.apply(this, args as [{ text?: string }]);
          const { text = "" } = question;
          if (!text.includes(".touch(") || text.includes(".locate(")) return answer as never;
          this.once("notification", () => heard.open());
          return answer.then(async (rows) => {
            checked.open();
            await goOn.opened;
            return rows;
          }) as never;
        });
        onTestFinished(() => spy.mockRestore());
        // So that the next check does not make up for it.
        const slow = postgresBroker({ pool, schema, pollInterval: 600_000 });
        onTestFinished(() => slow.close());
        const next = (await read(slow, "a")).expectNext(1);
        await checked.opened;
        const client = await begin();
        await broker.publish("a", { data: 1 }, { client });
        await client.query("COMMIT");
        await heard.opened;
        goOn.open();
        await next;
      });

      it("makes no transaction wait for another, whatever the order of the channels", async () => {
        const [one, other] = [await begin(), await begin()];
        await broker.publish("a", { data: 1 }, { client: one });
        await broker.publish("b", { data: 1 }, { client: other });
        await broker.publish("b", { data: 2 }, { client: one });
        await broker.publish("a", { data: 2 }, { client: other });
        // Nor does who publishes directly wait for either.
        await broker.publish("a", { data: "direct" });
        await one.query("COMMIT");
        await other.query("COMMIT");
        expect((await held("a")).toSorted()).toEqual([1, 2, "direct"]);
        expect((await held("b")).toSorted()).toEqual([1, 2]);
      });

      it("fails no transaction that runs SERIALIZABLE", async () => {
        await publishMany(broker, "a", 1);
        const clients = await Promise.all(Array.from({ length: 4 }, () => begin("SERIALIZABLE")));
        for (const client of clients) await client.query("SELECT 1");
        for (const [n, client] of clients.entries()) await broker.publish("a", { data: n + 1 }, { client });
        await broker.publish("a", { data: "direct" });
        for (const client of clients) await client.query("COMMIT");
        expect(await held("a")).toEqual([0, "direct", 1, 2, 3, 4]);
      });
    });

    describe("the errors of a transaction", () => {
      it("come as they are", async () => {
        const client = await begin();
        await expect(client.query("SELECT 1 / 0")).rejects.toMatchObject({ code: "22012" });
        const publish = broker.publish("a", { data: 1 }, { client });
        await expect(publish).rejects.toMatchObject({ code: "25P02" });
        await expect(publish).rejects.not.toBeInstanceOf(EventStreamError);
        await expect(broker.end("a", { client })).rejects.toMatchObject({ code: "25P02" });
      });

      it.each<[string, (pool: Pool) => unknown]>([
        ["a pool", (pool) => pool],
        ["nothing", () => undefined],
        ["somebody else's transaction", () => ({ query: () => {} })],
      ])("%s is no client", async (_what, wrong) => {
        const options = { client: wrong(pool) as never };
        await expect(broker.publish("a", { data: 1 }, options)).rejects.toMatchObject({ code: "ERR_INVALID_OPTION" });
        await expect(broker.end("a", options)).rejects.toMatchObject({ code: "ERR_INVALID_OPTION", field: "client" });
      });
    });

    describe("the end of a channel in one", () => {
      it("comes if and only if it commits", async () => {
        const reader = await read(broker, "a");
        const rest = reader.rest();
        const [rolledBack, committed] = [await begin(), await begin()];
        await broker.end("a", { client: rolledBack });
        await rolledBack.query("ROLLBACK");
        await broker.publish("a", { data: 1 });
        await broker.publish("a", { data: 2 }, { client: committed });
        await broker.end("a", { client: committed });
        await committed.query("COMMIT");
        expect(dataOf(await rest)).toEqual([1, 2]);
        await expect(broker.publish("a", { data: 3 })).rejects.toMatchObject({ code: "ERR_CHANNEL_ENDED" });
      });

      it("refuses what comes after it there, and leaves the transaction usable", async () => {
        const client = await begin();
        await client.query("SAVEPOINT s");
        await broker.end("a", { client });
        const refused = { code: "ERR_CHANNEL_ENDED" };
        await expect(broker.publish("a", { data: 1 }, { client })).rejects.toMatchObject(refused);
        await broker.publish("b", { data: 1 }, { client });
        await client.query("ROLLBACK TO s");
        await broker.publish("a", { data: 2 }, { client });
        await broker.end("a", { client });
        await broker.end("a", { client });
        await client.query("COMMIT");
        await (await read(broker, "a", { from: "start" })).expectRest(2);
        const next = await begin();
        await expect(broker.publish("a", { data: 3 }, { client: next })).rejects.toMatchObject(refused);
        expect((await next.query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
      });

      it("has what commits later dropped, and said so once", async () => {
        const messages = announced();
        const client = await begin();
        await broker.publish("a", { data: "late" }, { client });
        await broker.end("a");
        await client.query("COMMIT");
        // Whoever asks next finds it.
        await (await read(broker, "a", { from: "start" })).expectRest();
        await broker.end("a");
        expect(messages).toMatchObject([{ channel: "a", error: { code: "ERR_CHANNEL_ENDED" } }]);
      });
    });

    describe("publish() in SQL", () => {
      const publish = (channel: string, event: string) =>
        pool.query(`SELECT "${schema}".publish($1, $2)`, [channel, event]);

      it("publishes what a trigger sees, exactly", async () => {
        await pool.query(`
          CREATE TABLE "${schema}".orders (id bigint, item text);
          CREATE FUNCTION "${schema}".announce() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM "${schema}".publish('orders\\7', json_build_object('event', 'order', 'data', NEW)); RETURN NULL;
          END $$;
          CREATE TRIGGER announce AFTER INSERT ON "${schema}".orders FOR EACH ROW EXECUTE FUNCTION "${schema}".announce()`);
        const reader = await read(broker, "orders\\7");
        const next = reader.take(2);
        await pool.query(`INSERT INTO "${schema}".orders VALUES (1, 'tea "x" \\'), (9007199254740993, NULL)`);
        const [first, second] = await next;
        expect({ ...first }).toMatchObject({ event: "order", data: { id: 1, item: 'tea "x" \\' } });
        // A number that JavaScript would round goes to the browser as it is.
        expect(encodeEvent(second as never)).toContain("9007199254740993");
      });

      it.each([
        ['{"data": "text"}', { data: "text" }],
        ['{"data": null, "retry": 50, "comment": "c"}', { data: null, retry: 50, comment: "c" }],
        ['{"comment": "nothing else"}', { comment: "nothing else" }],
      ])("takes %s", async (event, wanted) => {
        const reader = await read(broker, "a");
        await publish("a", event);
        expect({ ...(await reader.take(1))[0] }).toEqual({ ...wanted, id: expect.any(String) });
      });

      it.each([
        ["[]", /JSON object/],
        ["{}", /no data/],
        ['{"event": "e"}', /no data/],
        ['{"id": 1, "data": 1}', /put your payload/],
        ['{"data": 1, "data": 2}', /"data" twice/],
        ['{"event": "a\\ndata: b", "data": 1}', /"event" is "a.*"; it must be a string without a line break\.$/],
        ['{"retry": -1}', /"retry" is -1; it must be a whole number of milliseconds\.$/],
        ['{"comment": 1}', /"comment" is 1; it must be a string\.$/],
      ])("refuses %s", async (event, message) => {
        await expect(publish("a", event)).rejects.toThrow(message);
      });

      it("takes the names that can be subscribed to, and no others", async () => {
        for (const name of ["", "a".repeat(513), "😀".repeat(257), "a" + "😀".repeat(256), "日".repeat(513)])
          await expect(publish(name, '{"data": 1}')).rejects.toThrow(/1 to 512 UTF-16 units/);
        for (const name of ["a".repeat(512), "😀".repeat(256), "日".repeat(512)]) {
          const reader = await read(broker, name);
          await publish(name, '{"data": 1}');
          await reader.expectNext(1);
        }
      });

      it("drops what comes to a channel that has ended, and says so", async () => {
        const messages = announced();
        await broker.end("a");
        await publish("a", '{"data": 1}');
        await (await read(broker, "a", { from: "start" })).expectRest();
        expect(messages).toMatchObject([{ channel: "a", error: { code: "ERR_CHANNEL_ENDED" } }]);
      });
    });

    it("loses nothing and never deadlocks: eight publishers, two channels in opposite order, one in ten rolled back", async () => {
      // Whoever reads at the end gets everything.
      const history = { maxEvents: 1_000_000 };
      const brokers = [pool, postgres.pool()].map((each) => postgresBroker({ pool: each, schema, history }));
      onTestFinished(() => Promise.all(brokers.map((each) => each.close())).then(() => {}));
      const seen = await Promise.all(
        brokers.flatMap((each) => ["a", "b"].map(async (channel) => ({ channel, reader: await read(each, channel) }))),
      );
      const committed: string[] = [];
      const end = performance.now() + 2_000;
      const publisher = async (name: number): Promise<void> => {
        const client = await pool.connect();
        const mine = brokers[name % 2] as PostgresBroker;
        for (let n = 0; performance.now() < end; n++) {
          const data = `${name}-${n}`;
          await client.query("BEGIN");
          for (const channel of name % 2 === 0 ? ["a", "b"] : ["b", "a"])
            await mine.publish(channel, { data }, { client });
          await sleep(Math.random() * 10);
          const isRolledBack = Math.random() < 0.1;
          await client.query(isRolledBack ? "ROLLBACK" : "COMMIT");
          if (!isRolledBack) committed.push(data);
          if (n % 10 === 0) await mine.publish("a", { data: `direct ${data}` });
        }
        client.release();
      };
      await Promise.all(Array.from({ length: 8 }, (_, name) => publisher(name)));
      expect(committed.length).toBeGreaterThan(50);
      await brokers[0]?.end("a");
      await brokers[0]?.end("b");
      const all = await Promise.all(seen.map(async ({ reader }) => dataOf(await reader.rest()) as string[]));
      const transactional = (data: string[] | undefined) => (data ?? []).filter((one) => !one.startsWith("direct"));
      for (const data of all) expect(transactional(data).toSorted()).toEqual(committed.toSorted());
      // One order for everybody, in which each publisher's own events keep theirs.
      expect(all[2]).toEqual(all[0]);
      expect(all[3]).toEqual(all[1]);
      for (let name = 0; name < 8; name++) {
        const own = transactional(all[0])
          .filter((one) => one.startsWith(`${name}-`))
          .map((one) => Number(one.split("-")[1]));
        expect(own).toEqual(own.toSorted((x, y) => x - y));
      }
    });
  },
  ["fsync=off"],
);
