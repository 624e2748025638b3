// The embedded Postgres belongs to one process. This lends it to a child process, over the channel that Node keeps between
// the two: each text that the child sends runs here, as one transaction. A Postgres server would need none of this: each
// process would have a Pool.
import type { ChildProcess } from "node:child_process";
import type { PGlite, Results } from "@electric-sql/pglite";
import type { PostgresBrokerOptions } from "express-event-source/postgres";

/** What a broker needs of a PGlite. */
type Embedded = Exclude<PostgresBrokerOptions["pool"], { connect: unknown }>;

type Question = { ask: number; text: string } | { listen: string };
type Reply =
  | { answers: number; results: Results[] }
  | { answers: number; error: { message: string; code?: string } }
  | { heard: string; payload: string };

/** In the parent: does what the child asks, until the child is gone. */
export function lend(database: PGlite, child: ChildProcess): void {
  // A child that has died needs no reply.
  const reply = (message: Reply) => void child.send(message, () => {});
  child.on("message", (question: Question) => {
    if ("ask" in question) {
      database
        .transaction((tx) => tx.exec(question.text, { rowMode: "array" }))
        .then(
          (results) => reply({ answers: question.ask, results }),
          ({ message, code }) => reply({ answers: question.ask, error: { message, code } }),
        );
    } else if ("listen" in question) {
      const { listen: name } = question;
      const unlisten = database.listen(name, (payload) => reply({ heard: name, payload }));
      child.on("exit", () => void unlisten.then((stop) => stop()));
    }
  });
}

/** In the child: the parent's database. */
export function borrow(): Embedded {
  let asked = 0;
  const settlers = new Map<number, (reply: Reply) => void>();
  const listeners = new Map<string, (payload: string) => void>();
  const send = (question: Question) => void process.send?.(question);

  process.on("message", (reply: Reply) => {
    if ("heard" in reply) listeners.get(reply.heard)?.(reply.payload);
    else if ("answers" in reply) settlers.get(reply.answers)?.(reply);
  });

  async function exec(text: string): Promise<Results[]> {
    const number = ++asked;
    const reply = await new Promise<Reply>((resolve) => {
      settlers.set(number, resolve);
      send({ ask: number, text });
    });
    settlers.delete(number);
    if ("results" in reply) return reply.results;
    if ("error" in reply) throw Object.assign(new Error(reply.error.message), reply.error);
    throw new Error("The parent sent something that is no answer.");
  }

  return {
    // A broker sends the whole of a transaction in one text.
    transaction: (work) =>
      work({ exec, rollback: () => Promise.reject(new Error("There is nothing left to roll back.")) }),
    async listen(name, heard) {
      listeners.set(name, heard);
      send({ listen: name });
      return async () => void listeners.delete(name);
    },
  };
}
