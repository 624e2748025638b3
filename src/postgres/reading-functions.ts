import { ago, type Define, milliseconds } from "./plpgsql.js";

/** How many events of a channel one read brings at most, and about how many bytes. */
const pageEvents = 256;
const pageBytes = 1_000_000;

/** The columns that `statusOf` reads. */
const statusColumns =
  "id text, era text, prior_era text, since text, last text, ended text, born text, production text";
const status = `to_hex(c.id), c.era::text, c.prior_era::text, c.since::text, c.last::text, c.ended_at::text,
    ${milliseconds("c.born")}, c.production`;

export function readingFunctions(s: string, define: Define): string {
  return [
    // Returns the status of each channel, in the order of the names. If a channel does not exist, all columns but the
    // clock are null.
    define(
      "locate(names text[], max_age bigint)",
      `TABLE (clock text, ${statusColumns}, start text)`,
      "",
      `  RETURN QUERY
  SELECT ${milliseconds("clock_timestamp()")}, ${status}, coalesce(oldest.n - 1, c.last)::text
  FROM unnest(names) WITH ORDINALITY AS q (name, place)
  LEFT JOIN ${s}.channels AS c ON c.name = q.name
  LEFT JOIN LATERAL (
    SELECT e.n FROM ${s}.events AS e WHERE e.channel = c.id AND e.n > c.trimmed AND e.at >= ${ago("max_age")}
    ORDER BY e.n LIMIT 1
  ) AS oldest ON true
  ORDER BY q.place;`,
    ),
    // Returns the channels whose run or last event is not the one that the reader knows, and always those that have
    // ended or have a producer. If a channel that the reader knows does not exist any more, all columns but the place
    // are null. With `with_events`, each comes with a page of the events after the one in `afters`.
    define(
      "read(names text[], known text[], afters bigint[], max_age bigint, with_events boolean)",
      `TABLE (place text, ${statusColumns}, at text, n text, payload text)`,
      "",
      `  RETURN QUERY
  SELECT q.place::text, ${status}, (extract(epoch FROM page.at) * 1000000)::bigint::text, page.n::text, page.payload
  FROM unnest(names, known, afters) WITH ORDINALITY AS q (name, known, after, place)
  LEFT JOIN ${s}.channels AS c ON c.name = q.name
  LEFT JOIN LATERAL (
    SELECT w.n, w.at, w.payload FROM (
      SELECT e.n, e.at, e.payload, sum(octet_length(e.payload)) OVER (ORDER BY e.n) - octet_length(e.payload) AS bytes
      FROM ${s}.events AS e
      WHERE with_events AND c.last > q.after AND e.channel = c.id AND e.n > greatest(q.after, c.trimmed)
        AND e.at >= ${ago("max_age")}
      ORDER BY e.n LIMIT ${pageEvents}
    ) AS w WHERE w.bytes < ${pageBytes}
  ) AS page ON true
  WHERE c.last <> q.after OR c.ended_at IS NOT NULL OR c.production = 'live'
    OR to_hex(c.id) || '.' || c.era <> q.known OR (c.id IS NULL AND q.known <> '')
  ORDER BY q.place, page.n;`,
    ),
  ].join("");
}
