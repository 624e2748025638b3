import type { EventStreamError } from "../errors.js";
import { Deadline } from "./deadline.js";

interface Call<Question, Answer> {
  readonly question: Question;
  readonly deadline: Deadline;
  resolve(answer: Answer): void;
  reject(error: Error): void;
  isOver: boolean;
}

/**
 * Asks many questions in one statement. Questions that come while a statement is under way go together in the next
 * one. So this is no cache: every answer comes from a statement that was sent after its question was asked. Running
 * one statement at a time also keeps the order of the events that one process publishes.
 */
export class Batch<Question, Answer> {
  readonly #ask: (questions: readonly Question[], deadline: Deadline) => Promise<readonly Answer[]>;
  readonly #timeout: number;
  readonly #maxSize: number;
  readonly #sizeOf: (question: Question) => number;
  #waiting: Call<Question, Answer>[] = [];
  #isBusy = false;

  /** @param maxSize the largest sum of the sizes of the questions in one statement; a larger question goes alone */
  constructor(
    timeout: number,
    maxSize: number,
    ask: (questions: readonly Question[], deadline: Deadline) => Promise<readonly Answer[]>,
    sizeOf: (question: Question) => number = () => 1,
  ) {
    this.#timeout = timeout;
    this.#maxSize = maxSize;
    this.#sizeOf = sizeOf;
    this.#ask = ask;
  }

  /** @throws the error of the constructor's `ask`, or `ERR_BROKER_UNAVAILABLE` if no answer comes in time */
  ask(question: Question): Promise<Answer> {
    const deadline = new Deadline(this.#timeout);
    return new Promise((resolve, reject) => {
      const call: Call<Question, Answer> = {
        question,
        deadline,
        isOver: false,
        resolve: (answer) => {
          call.isOver = true;
          clearTimeout(timer);
          resolve(answer);
        },
        reject: (error) => {
          call.isOver = true;
          clearTimeout(timer);
          reject(error);
        },
      };
      const timer = setTimeout(() => call.reject(deadline.error()), this.#timeout);
      this.#waiting.push(call);
      if (!this.#isBusy) this.#start();
    });
  }

  #start(): void {
    this.#isBusy = true;
    // A microtask later, so that all questions that the current code asks go together.
    queueMicrotask(() => void this.#run());
  }

  async #run(): Promise<void> {
    await this.#answer(this.#next());
    this.#isBusy = false;
    if (this.#waiting.length > 0) this.#start();
  }

  async #answer(asked: readonly Call<Question, Answer>[]): Promise<void> {
    const calls = asked.filter(({ isOver }) => !isOver);
    const [first] = calls;
    if (first === undefined) return;
    try {
      // By the first deadline: no question of the statement is carried out after it has been rejected.
      const answers = await this.#ask(
        calls.map(({ question }) => question),
        first.deadline,
      );
      for (const [index, call] of calls.entries()) call.resolve(answers[index] as Answer);
    } catch (error) {
      // A question that the database cannot hold (for one of its characters, or its size) must not fail the others. So
      // they are halved until that one is alone.
      if ((error as EventStreamError).code === "ERR_UNSERIALIZABLE_DATA" && calls.length > 1) {
        const middle = calls.length >> 1;
        await this.#answer(calls.slice(0, middle));
        await this.#answer(calls.slice(middle));
      } else for (const call of calls) call.reject(error as Error);
    }
  }

  /** Takes the questions of the next statement from those that wait. A question whose time is up is never sent. */
  #next(): Call<Question, Answer>[] {
    const calls: Call<Question, Answer>[] = [];
    let size = 0;
    let taken = 0;
    for (const call of this.#waiting) {
      if (!call.isOver) {
        size += this.#sizeOf(call.question);
        const [first = call] = calls;
        // The first deadline counts for all, so a question with much more time left waits for the next statement.
        if (first !== call && (size > this.#maxSize || call.deadline.at - first.deadline.at > this.#timeout / 10))
          break;
        calls.push(call);
      }
      taken++;
    }
    this.#waiting = this.#waiting.slice(taken);
    return calls;
  }
}
