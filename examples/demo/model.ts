import { setTimeout as sleep } from "node:timers/promises";

const answer = `An event stream is one HTTP response that does not end. The server writes each event as a few lines of text and a blank line; the browser reads them as they come, and when the connection breaks it comes back by itself and says which event it saw last.

That is all there is to it: no protocol to upgrade to, no frames to mask, no library in the page. Proxies, cookies, compression and curl work as they do for any other response. What is left to do on the server is to stop working when nobody reads any more, not to remember more than a slow reader can take, and to go on where a reader was cut off.`;

/** Stands in for a language model: the words of an answer, one after the other, at a model's pace. */
export async function* complete(prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  const tokens = `You asked: “${prompt}”.\n\n${answer}`.match(/\S+\s*/g) ?? [];
  for (const token of tokens) {
    await sleep(40, undefined, { signal });
    yield token;
  }
}
