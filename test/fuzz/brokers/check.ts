import { setImmediate as turn } from "node:timers/promises";
import { type Broker, EventStreamError, type HistoryOptions } from "express-event-source";
import { Client, type Payload } from "./client.js";
import { Model } from "./model.js";
import type { BrokerProgram, Step } from "./program.js";

/** A kind of broker that can be checked against the model. */
export interface Subject {
  /** A broker with an empty store of its own. */
  open(history: HistoryOptions): Promise<Broker> | Broker;
  now(): number;
  /** Lets the store get older. */
  pass(milliseconds: number): Promise<void>;
  /** `cut` cuts the connections to the store, `kill` kills the store; both let it come back. */
  readonly faults?: { readonly cut: () => Promise<void>; readonly kill: () => Promise<void> };
  /** How many events more than `maxEvents` a channel may hold, at least for a while. */
  readonly surplus: number;
  /** Milliseconds within which everything must have arrived. */
  readonly patience: number;
}

/** Runs a program on a broker and rejects with the first thing that does not fit the model. */
export async function checkBroker(subject: Subject, program: BrokerProgram): Promise<void> {
  const { maxEvents, maxAge } = program;
  const broker = await subject.open(maxAge === undefined ? { maxEvents } : { maxEvents, maxAge });
  try {
    await new Run(subject, program, broker).run();
  } finally {
    await broker.close();
  }
}

class Run {
  readonly #subject: Subject;
  readonly #program: BrokerProgram;
  readonly #broker: Broker;
  readonly #model: Model;
  readonly #clients: readonly Client[];
  readonly #ids = new Map<string, string>();

  constructor(subject: Subject, program: BrokerProgram, broker: Broker) {
    const start = subject.now();
    this.#subject = subject;
    this.#program = program;
    this.#broker = broker;
    this.#model = new Model(
      program.maxEvents,
      program.maxAge ?? Infinity,
      () => subject.now() - start,
      subject.surplus,
    );
    this.#clients = program.clients.map((client) => new Client(broker, this.#model, client));
  }

  async run(): Promise<void> {
    for (const step of this.#program.steps) {
      await this.#do(step);
      this.#throwProblems();
    }
    await this.#drain();
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case "publish":
        return this.#publish(step.channel, step.count);
      case "end":
        return this.#end(step.channel);
      case "connect": {
        const client = this.#clients[step.client] as Client;
        const foreign = [...this.#ids].find(([channel]) => !client.channels.includes(channel))?.[1];
        return this.#tolerate(client.connect(step, foreign)).then(() => {});
      }
      case "read":
        return this.#clients[step.client]?.read(step.count);
      case "leave":
        return this.#clients[step.client]?.leave(step.how);
      case "pass":
        return this.#subject.pass(step.milliseconds);
      case "cut":
      case "kill":
        return this.#subject.faults?.[step.do]();
      case "turn":
        return turn();
    }
  }

  /** Publishes all at once, like an application that does not wait. */
  async #publish(channel: string, count: number): Promise<void> {
    if (this.#model.ended.has(channel)) return this.#publishAfterEnd(channel);
    const all = Array.from({ length: count }, async () => {
      const { index, stored } = this.#model.publish(channel);
      const data: Payload = { channel, index };
      const id = await this.#tolerate(this.#broker.publish(channel, { data }));
      if (id === undefined) return;
      stored();
      this.#ids.set(channel, id);
    });
    await Promise.all(all);
  }

  async #publishSurely(channel: string): Promise<void> {
    do await this.#publish(channel, 1);
    while (!this.#model.isStored(channel, this.#model.count(channel) - 1));
  }

  async #publishAfterEnd(channel: string): Promise<void> {
    try {
      await this.#broker.publish(channel, { data: 0 });
    } catch (error) {
      if (["ERR_CHANNEL_ENDED", "ERR_BROKER_UNAVAILABLE"].includes((error as EventStreamError).code)) return;
      throw error;
    }
    throw new Error(`${channel} has ended, and takes another event.`);
  }

  async #end(channel: string): Promise<void> {
    // With `maxAge`, an ended channel may be forgotten and begin again, which the model does not know.
    if (this.#program.maxAge !== undefined) return;
    for (;;) {
      this.#model.ended.add(channel);
      if (await this.#tolerate(this.#broker.end(channel).then(() => true))) return;
    }
  }

  /** If the store may fail, lets `ERR_BROKER_UNAVAILABLE` pass as `undefined`. */
  async #tolerate<T>(promise: Promise<T>): Promise<T | undefined> {
    try {
      return await promise;
    } catch (error) {
      const isFault = error instanceof EventStreamError && error.code === "ERR_BROKER_UNAVAILABLE";
      if (this.#subject.faults === undefined || !isFault) throw error;
      return undefined;
    }
  }

  /** Checks that every connected client gets all remaining events. */
  async #drain(): Promise<void> {
    for (const channel of new Set(this.#program.clients.flatMap(({ channels }) => channels)))
      if (!this.#model.ended.has(channel)) await this.#publishSurely(channel);
    const waiting = (): Client | undefined =>
      this.#clients.find(
        ({ isConnected, expectation }) => isConnected && (expectation?.missing !== undefined || expectation?.mustEnd),
      );
    const limit = Date.now() + this.#subject.patience;
    for (const client of this.#clients) client.read(Infinity);
    while (waiting() !== undefined && Date.now() < limit) {
      this.#throwProblems();
      await turn();
    }
    this.#throwProblems();
    const late = waiting();
    if (late !== undefined)
      throw new Error(`A client of ${late.channels.join()} never got ${late.expectation?.missing ?? "the end"}.`);
  }

  #throwProblems(): void {
    for (const { problem } of this.#clients) if (problem !== undefined) throw problem;
  }
}
