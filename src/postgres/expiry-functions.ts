import { ago, type Define } from "./plpgsql.js";

/** Functions that keep the channels that are in use, and forget the others. */
export function expiryFunctions(s: string, define: Define): string {
  return touchFunction(s, define) + sweepFunction(s, define);
}

/** Keeps channels that have subscriptions. To save updates, it skips those touched in the last `age` milliseconds. */
function touchFunction(s: string, define: Define): string {
  return define(
    "touch(names text[], age bigint)",
    "void",
    "",
    `  UPDATE ${s}.channels SET touched = clock_timestamp() WHERE id IN (
    SELECT c.id FROM ${s}.channels AS c WHERE c.name = ANY (names) AND c.touched < ${ago("age")} FOR UPDATE SKIP LOCKED
  );`,
  );
}

/**
 * Looks through the next thousand channels, deletes the events that have aged out and forgets the channels that are
 * idle. Returns the id after which to continue, or null.
 */
function sweepFunction(s: string, define: Define): string {
  return define(
    "sweep(after bigint, max_age bigint)",
    "text",
    `oldest timestamptz := ${ago("max_age")};
  candidates bigint[];
  locked bigint[];
  go_on bigint;`,
    `  SELECT array_agg(f.id) FILTER (WHERE f.touched < oldest OR f.first_at < oldest),
    CASE WHEN count(*) = 1000 THEN max(f.id) END
  INTO candidates, go_on
  FROM (
    SELECT c.id, c.touched, (
      SELECT e.at FROM ${s}.events AS e WHERE e.channel = c.id AND e.n > c.trimmed ORDER BY e.n LIMIT 1
    ) AS first_at
    FROM ${s}.channels AS c WHERE c.id > after ORDER BY c.id LIMIT 1000
  ) AS f;
  locked := ARRAY(SELECT c.id FROM ${s}.channels AS c WHERE c.id = ANY (candidates) FOR UPDATE SKIP LOCKED);
  IF cardinality(locked) > 0 THEN
    WITH held AS (
      SELECT c.id, c.trimmed, coalesce((
        SELECT e.n FROM ${s}.events AS e WHERE e.channel = c.id AND e.n > c.trimmed AND e.at >= oldest
        ORDER BY e.n LIMIT 1
      ), c.last + 1) - 1 AS new_trimmed
      FROM ${s}.channels AS c WHERE c.id = ANY (locked)
    ), deleted AS (
      DELETE FROM ${s}.events AS e USING held AS h
      WHERE e.channel = h.id AND e.n > h.trimmed AND e.n <= h.new_trimmed
    )
    UPDATE ${s}.channels AS c SET trimmed = h.new_trimmed FROM held AS h
    WHERE c.id = h.id AND h.new_trimmed > h.trimmed;
    DELETE FROM ${s}.channels AS c WHERE c.id = ANY (locked) AND c.touched < oldest AND c.trimmed = c.last
      AND c.production IS DISTINCT FROM 'live'
      AND NOT EXISTS (SELECT FROM ${s}.pending AS p WHERE p.name = c.name);
  END IF;
  RETURN go_on::text;`,
  );
}
