/**
 * What every contender sends. There are three kinds:
 *
 * - `event`: what applications send, an event with a type, an ID and a data object of six fields;
 * - `data`: an event of `data` alone, an object of three fields, 100 bytes on the wire;
 * - `token`: a string of 4 to 20 characters, as a language model streams it.
 *
 * Each item holds one tilde, which is nowhere else on the wire, so that a client counts items by it.
 */
export const MARK = "~";

/** A new object for each call, as a source makes it. */
export const makers = {
  event: (n) => ({
    event: "order",
    id: n,
    data: {
      order: 100_000 + (n % 900_000),
      status: "shipped~",
      total: 49.9,
      currency: "EUR",
      customer: "ada@example.com",
      paid: true,
    },
  }),
  data: (n) => ({
    data: {
      n: 100_000 + (n % 900_000),
      at: 1_700_000_000_000 + n,
      text: "as long as a line of a chat or of a log that I see~",
    },
  }),
  token: (n) => TOKENS[n % TOKENS.length],
};

const TOKENS = Array.from({ length: 17 }, (_, n) => ` ${"token".repeat(4).slice(0, n + 2)}~`);

/** An event as a hand writes it, without a check of anything. */
export function frameOf(item) {
  if (typeof item === "string") return `data: ${item}\n\n`;
  const { event, id, data } = item;
  const head = event === undefined ? "" : `id: ${id}\nevent: ${event}\n`;
  return `${head}data: ${JSON.stringify(data)}\n\n`;
}

/** A source that is always ready. */
export async function* readyItems(kind, count) {
  const make = makers[kind];
  for (let n = 0; n < count; n++) yield make(n);
}

/** What a request asks of `/ready`. */
export function asked(query) {
  const { kind = "event", count } = query;
  return [kind, Number(count)];
}
