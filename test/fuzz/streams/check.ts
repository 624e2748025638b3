import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, readAnswers } from "./http.js";
import { mayFail, possibleReasons, readBody } from "./model.js";
import type { Fuzzed } from "../fuzz.js";
import { type StreamProgram, streamProgram } from "./program.js";
import { type Exchange, runStreams, slack, type Trace } from "./runner.js";
import { limit } from "./work.js";

export const streams: Fuzzed<StreamProgram> = {
  name: "streams",
  program: streamProgram,
  check: checkStreams,
  abreast: 24,
};

/** Runs a program and checks what happened against the model. Rejects with everything that does not fit. */
async function checkStreams(program: StreamProgram): Promise<void> {
  const trace = await runStreams(program);
  const problems = [...trace.problems];
  let answers: Answer[] = [];
  try {
    answers = readAnswers(
      trace.received,
      trace.exchanges.map(({ request }) => request.method),
    );
  } catch (error) {
    problems.push((error as Error).message);
  }
  for (const [index, exchange] of trace.exchanges.entries()) {
    if (exchange.state === "refused") continue;
    const found = [
      ...(await checkSource(program, exchange)),
      ...checkEnd(program, exchange, trace),
      ...checkAnswer(program, exchange, trace, answers, index),
    ];
    problems.push(...found.map((problem) => `${exchange.request.method} ${index}: ${problem}`));
  }
  problems.push(...checkWarnings(program, trace));
  if (problems.length > 0) throw new Error(problems.join("\n"));
}

/** Checks how the source was used. */
async function checkSource(
  { source: { onReturn, shape } }: StreamProgram,
  { source, request, stream }: Exchange,
): Promise<string[]> {
  const problems: string[] = [];
  const fail = (is: boolean, problem: string): unknown => is && problems.push(problem);
  fail(source.calls > (request.method === "HEAD" ? 0 : 1), `The source was opened ${source.calls} times.`);
  fail(source.hasBlocked, `The event loop did not turn for ${limit} ms of the sources' work.`);
  fail(source.mostPending > 1, "next() was called before the last one had been answered.");
  fail(source.returns > 1, `return() was called ${source.returns} times.`);
  fail(source.returnedAfterEnd, "return() was called after the source had ended by itself.");
  const hasReturn =
    shape !== "async iterator" && shape !== "sync iterable" && shape !== "iterable of promises"
      ? true
      : onReturn !== "missing";
  fail(source.isMade && source.over === undefined && source.returns === 0 && hasReturn, "return() was never called.");
  fail(source.isLetGo === false, "The Node stream was never destroyed.");
  fail(stream !== undefined && !stream.signal.aborted, "The signal never aborted.");
  if (source.subscription !== undefined) {
    const patience = new AbortController();
    const next = await Promise.race([
      source.subscription[Symbol.asyncIterator]().next(),
      sleep(slack, undefined, { signal: patience.signal }),
    ]);
    patience.abort();
    fail(next?.done !== true, "The subscription goes on.");
  }
  await source.broker?.close();
  return problems;
}

/** Checks what the application was told. */
function checkEnd(program: StreamProgram, exchange: Exchange, trace: Trace): string[] {
  const { options } = program;
  const { summaries, passedOn, stream, isOpen, source } = exchange;
  const problems: string[] = [];
  const fail = (is: boolean, problem: string): unknown => is && problems.push(problem);
  const [summary] = summaries;
  fail(
    summaries.length !== (isOpen ? 1 : 0),
    `onClose was called ${summaries.length} times; the head was ${isOpen ? "" : "not "}sent.`,
  );
  if (summary !== undefined) {
    const reasons = possibleReasons(program, exchange, trace);
    fail(
      !reasons.has(summary.reason),
      `The reason is ${summary.reason}, which can only be ${[...reasons].join(" or ") || "none"}.`,
    );
    fail(
      stream !== undefined && stream.signal.reason !== summary.reason,
      `The signal says ${stream?.signal.reason}, onClose ${summary.reason}.`,
    );
    fail(summary.events > source.yielded.length, `${summary.events} events of ${source.yielded.length}.`);
    fail(
      summary.reason === "completed" && summary.events !== source.yielded.length,
      `Completed with ${summary.events} events of ${source.yielded.length}.`,
    );
    fail(summary.reason !== "error" && "error" in summary, "An error beside another reason.");
  }

  const told = passedOn.length + (exchange.state === "rejected" ? 1 : 0);
  fail(told > 1, `next, or the promise, told of ${told} errors.`);
  fail(
    exchange.state === "rejected" && program.next,
    `The promise rejected with ${String(exchange.rejection)}, although there is next.`,
  );
  const hasClosed = summary !== undefined && options.onClose === "throws";
  const mustTell = hasClosed || (summary?.reason === "error" && options.onError !== "event");
  // If onClose rejects, the rejection may be noticed too late to tell the application.
  const mayTell =
    mustTell ||
    summary?.reason === "error" ||
    (options.onClose === "rejects" && isOpen) ||
    (!isOpen && (mayFail(program) || exchange.disturbed.length > 0));
  fail(mustTell && told === 0, "Nobody was told of the error.");
  fail(!mayTell && told > 0, `An error nobody caused: ${String(passedOn[0] ?? exchange.rejection)}`);
  return problems;
}

/** Checks the process warnings: the library's last resort for the error of a hook of which it can tell nobody else. */
function checkWarnings(
  { next, options: { onClose, onError } }: StreamProgram,
  { exchanges, warnings }: Trace,
): string[] {
  const open = exchanges.filter(({ isOpen }) => isOpen).length;
  const least = onClose === "rejects" && !next ? open : 0;
  const most = (onClose === "rejects" ? open : 0) + (onError === "rejects" ? open : 0);
  return warnings < least || warnings > most ? [`There were ${warnings} warnings, not ${least} to ${most}.`] : [];
}

/** Checks what the client got. */
function checkAnswer(
  program: StreamProgram,
  exchange: Exchange,
  trace: Trace,
  answers: readonly Answer[],
  index: number,
): string[] {
  const { client, options } = program;
  const answer = answers[index];
  const [summary] = exchange.summaries;
  // Whether the client reads to the end, on a connection that nobody disturbs.
  const isAttentive =
    !trace.clientHasLeft &&
    client.reads !== "until it stalls" &&
    trace.exchanges.every(({ disturbed }) => disturbed.length === 0);
  const isReached = answers.slice(0, index).every(({ isWhole }) => isWhole) && answers.length >= index;
  const problems: string[] = [];
  const fail = (is: boolean, problem: string): unknown => is && problems.push(problem);
  if (answer === undefined) {
    fail(isAttentive && isReached && summary?.reason === "completed", "No answer came.");
    return problems;
  }
  // Another part of the program answered before the stream began.
  if (exchange.disturbed.length > 0 && !exchange.isOpen) return problems;
  if (answer.status !== 200) {
    fail(answer.status !== 204 && answer.status !== 500, `The status is ${answer.status}.`);
    fail(exchange.isOpen, `The status is ${answer.status}, and the stream open.`);
    fail(
      answer.status === 204 && exchange.source.yielded.length > 0 && exchange.source.subscription === undefined,
      `204 for ${exchange.source.yielded.length} items.`,
    );
    return problems;
  }
  fail(
    answer.headers.get("content-type") !== "text/event-stream; charset=utf-8",
    "The head is not that of an event stream.",
  );
  if (exchange.request.method === "HEAD") return problems;
  fail(!exchange.isOpen, "The head came, and the stream never opened.");
  try {
    const body = readBody(answer.body, exchange.source.yielded, program, summary?.reason);
    if (summary === undefined) return [...problems, "A stream without a summary."];
    fail(body.items > summary.events, `${body.items} events came, ${summary.events} were sent.`);
    fail(answer.body.length > summary.bytes, `${answer.body.length} bytes came, ${summary.bytes} were sent.`);
    if (!isAttentive) return problems;
    const isAll = body.items <= summary.events && summary.events <= body.mostItems;
    const isEnded = ["completed", "expired", "shutdown"].includes(summary.reason) || body.hasFarewell;
    fail(isEnded && !answer.isWhole, `The stream is ${summary.reason}, and was cut.`);
    fail(isEnded && !isAll, `${body.items} of ${summary.events} events came.`);
    fail(isEnded && answer.body.length !== summary.bytes, `${answer.body.length} of ${summary.bytes} bytes came.`);
    fail(
      !isEnded && answer.isWhole && client.version === "1.1",
      `The stream ended with ${summary.reason}, and looks complete.`,
    );
    const isTold = summary.reason === "error" && options.onError === "event" && program.middleware !== "write throws";
    fail(isTold && !body.hasFarewell && !body.isOpenEnded, "onError's event never came.");
    // Not with compression: the library gives it a tenth of a second to hand over its data, which may not be enough.
    fail(
      summary.reason === "error" && !["write throws", "compression"].includes(program.middleware) && !isAll,
      `${body.items} of ${summary.events} events came before the error.`,
    );
  } catch (error) {
    problems.push((error as Error).message);
  }
  return problems;
}
