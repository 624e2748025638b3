import { beforeEach, expect, it, vi } from "vitest";
import { Batch } from "../../src/postgres/batch.js";
import type { Deadline } from "../../src/postgres/deadline.js";
import { EventStreamError } from "../../src/errors.js";
import { fakeTimers } from "../support/stage.js";

fakeTimers();

/** The statements that have been sent, and until when, counted from the beginning of the test. */
let sent: { questions: readonly string[]; until: number }[];
let start: number;
beforeEach(() => {
  sent = [];
  start = performance.now();
});

/** A batch whose statements are answered by `answer`, after its time. */
function open(answer: (questions: readonly string[]) => Promise<readonly string[]>): Batch<string, string> {
  return new Batch(1_000, 100, (questions, deadline: Deadline) => {
    sent.push({ questions, until: Math.round(deadline.at - start) });
    return answer(questions);
  });
}

const outcome = (promise: Promise<string>): Promise<string> => promise.catch(() => "rejected");

it("sends no question together with one whose time is up much earlier", async () => {
  const batch = open(async (questions) => {
    await new Promise((resolve) => setTimeout(resolve, questions[0] === "first" ? 950 : 10));
    return questions;
  });
  const outcomes = [outcome(batch.ask("first"))];
  await vi.advanceTimersByTimeAsync(20);
  outcomes.push(outcome(batch.ask("second")));
  await vi.advanceTimersByTimeAsync(80);
  outcomes.push(outcome(batch.ask("soon after")));
  await vi.advanceTimersByTimeAsync(700);
  outcomes.push(outcome(batch.ask("late")));
  await vi.runAllTimersAsync();
  expect(sent).toEqual([
    { questions: ["first"], until: 1_000 },
    { questions: ["second", "soon after"], until: 1_020 },
    { questions: ["late"], until: 1_800 },
  ]);
  expect(await Promise.all(outcomes)).toEqual(["first", "second", "soon after", "late"]);
});

it("sends no question after its time is up, though its statement had to be split", async () => {
  const batch = open(async (questions) => {
    await new Promise((resolve) => setTimeout(resolve, 850));
    if (questions.includes("impossible")) throw new EventStreamError("ERR_UNSERIALIZABLE_DATA", "No such character.");
    return questions;
  });
  const outcomes = ["fine", "impossible"].map((question) => outcome(batch.ask(question)));
  await vi.runAllTimersAsync();
  expect(sent).toEqual([
    { questions: ["fine", "impossible"], until: 1_000 },
    { questions: ["fine"], until: 1_000 },
  ]);
  expect(await Promise.all(outcomes)).toEqual(["rejected", "rejected"]);
});
