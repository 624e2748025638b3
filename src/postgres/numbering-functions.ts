import type { Define } from "./plpgsql.js";
import { dollarQuoted, literal } from "./sql.js";

/**
 * Functions that number events. The numbers are the order of a channel's events.
 *
 * A channel's row is locked before its events are numbered or deleted, and before its pending events are taken.
 * Several channels are locked in the order of their names, and `sweep` and `touch` skip those that are locked. So these
 * functions do not deadlock with one another.
 */
export function numberingFunctions(s: string, bell: string, define: Define): string {
  return [
    // The first eight digits of a WAL file's name are the server's timeline, which changes with a promotion or a
    // restore.
    define(
      "timeline()",
      "bigint",
      "",
      `  RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
EXCEPTION WHEN OTHERS THEN
  -- PGlite, and services that do not tell.
  RETURN 0;`,
    ),
    `CREATE OR REPLACE FUNCTION ${s}.key(name text) RETURNS text LANGUAGE sql AS ${dollarQuoted(
      `SELECT left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 16)`,
    )};
`,
    // Locks channels, makes those that do not exist, and ends those whose producer's lease is over.
    define(
      "lock(wanted text[])",
      "void",
      `here bigint := ${s}.timeline();
  locked bigint;`,
      `  INSERT INTO ${s}.channels (name, era)
    SELECT w, here FROM unnest(wanted) WITH ORDINALITY AS u (w, place)
    WHERE NOT EXISTS (SELECT FROM ${s}.channels AS c WHERE c.name = w) ORDER BY place
    ON CONFLICT DO NOTHING;
  PERFORM FROM ${s}.channels AS c WHERE c.name = ANY (wanted) ORDER BY c.name FOR UPDATE;
  GET DIAGNOSTICS locked = ROW_COUNT;
  IF locked < cardinality(wanted) THEN
    RAISE EXCEPTION 'A channel was forgotten in the meantime.' USING ERRCODE = 'serialization_failure';
  END IF;
  UPDATE ${s}.channels AS c SET prior_era = c.era, era = here, since = c.last
    WHERE c.name = ANY (wanted) AND c.era <> here;
  WITH over AS (
    UPDATE ${s}.channels AS c
    SET last = c.last + 1, touched = clock_timestamp(), ended_at = clock_timestamp(), production = 'lost'
    WHERE c.name = ANY (wanted) AND c.production = 'live' AND c.lease_until <= clock_timestamp()
    RETURNING c.id, c.last
  )
  INSERT INTO ${s}.events (channel, n, at, payload)
  SELECT o.id, o.last, clock_timestamp(), ${literal('{"event":"lost","text":""}')} FROM over AS o;`,
    ),
    // Trims channels that are locked, and sends the notifications about them.
    define(
      "settle(wanted text[], max_events bigint)",
      "void",
      "long record;",
      `  FOR long IN
    SELECT c.id, c.trimmed, c.last - max_events AS new_trimmed FROM ${s}.channels AS c
    WHERE c.name = ANY (wanted) AND c.last - c.trimmed > max_events + max_events / 8
  LOOP
    DELETE FROM ${s}.events AS e WHERE e.channel = long.id AND e.n > long.trimmed AND e.n <= long.new_trimmed;
    UPDATE ${s}.channels AS c SET trimmed = long.new_trimmed WHERE c.id = long.id;
  END LOOP;
  -- A notification has room for 8,000 bytes.
  PERFORM pg_notify(${literal(bell)}, string_agg(
      ${s}.key(c.name) || ':' || c.last || CASE WHEN c.ended_at IS NOT NULL
      OR (c.production = 'live' AND c.produced = 0) THEN '!' ELSE '' END, ','))
    FROM ${s}.channels AS c WHERE c.name = ANY (wanted)
    GROUP BY array_position(wanted, c.name) / 200;`,
    ),
    // Numbers the events that are pending for these channels, then those that are published directly. Returns a row
    // for each direct event with its id. In place of the id, null means that the channel has ended, and "produced" that
    // only its producer may end it. Also returns a row for each pending event that was dropped because the channel has
    // ended.
    define(
      "number(channels text[], names text[], payloads text[], max_events bigint)",
      "TABLE (item text, id text, dropped text)",
      `wanted text[] := ARRAY(SELECT DISTINCT w COLLATE "C" FROM unnest(channels) AS w ORDER BY 1);`,
      `  PERFORM ${s}.lock(wanted);
  RETURN QUERY
  WITH taken AS (
    DELETE FROM ${s}.pending AS p WHERE p.name = ANY (wanted) RETURNING p.id, p.name, p.payload
  ), items AS (
    SELECT false AS is_direct, t.id AS place, t.name, t.payload FROM taken AS t
    UNION ALL
    SELECT true, d.place, d.name, d.payload FROM unnest(names, payloads) WITH ORDINALITY AS d (name, payload, place)
  ), judged AS (
    SELECT i.*, c.id AS channel, c.era, c.last, i.payload IS NULL AND c.production = 'live' AS is_refused,
      c.ended_at IS NULL AND count(*) FILTER (WHERE i.payload IS NULL AND c.production IS DISTINCT FROM 'live')
        OVER so_far = 0 AND i.payload IS NOT NULL AS is_accepted
    FROM items AS i JOIN ${s}.channels AS c ON c.name = i.name
    WINDOW so_far AS (PARTITION BY i.name ORDER BY i.is_direct, i.place)
  ), numbered AS (
    SELECT j.*, j.last + count(*) FILTER (WHERE j.is_accepted)
      OVER (PARTITION BY j.name ORDER BY j.is_direct, j.place) AS n
    FROM judged AS j
  ), stored AS (
    INSERT INTO ${s}.events (channel, n, at, payload)
    SELECT v.channel, v.n, clock_timestamp(), v.payload FROM numbered AS v WHERE v.is_accepted
  ), moved AS (
    UPDATE ${s}.channels AS c
    SET last = m.last, touched = clock_timestamp(),
      ended_at = CASE WHEN m.is_ended THEN coalesce(c.ended_at, clock_timestamp()) ELSE c.ended_at END
    FROM (
      SELECT v.channel, max(v.n) AS last, bool_or(v.payload IS NULL AND NOT coalesce(v.is_refused, false)) AS is_ended
      FROM numbered AS v GROUP BY v.channel
    ) AS m
    WHERE c.id = m.channel AND (m.last > c.last OR m.is_ended)
  )
  SELECT CASE WHEN v.is_direct THEN v.place::text END,
    CASE WHEN v.is_refused THEN 'produced'
      WHEN v.is_accepted OR v.payload IS NULL THEN to_hex(v.channel) || '.' || v.era || '-' || v.n END,
    CASE WHEN NOT v.is_direct THEN v.name END
  FROM numbered AS v
  WHERE v.is_direct OR (v.payload IS NOT NULL AND NOT v.is_accepted);
  PERFORM ${s}.settle(wanted, max_events);`,
    ),
    // Numbers the pending events of these channels, and ends those whose producer's lease is over. If `channels` is
    // null, it does so for the first channels that need it, and adds a last row if more may be waiting.
    define(
      "drain(channels text[], max_events bigint)",
      "TABLE (dropped text, has_more text)",
      `found text[];
  seen bigint;`,
      `  IF channels IS NULL THEN
    SELECT array_agg(DISTINCT p.name), count(*) INTO found, seen FROM (
      (SELECT name FROM ${s}.pending LIMIT 1000) UNION ALL (
        SELECT c.name FROM ${s}.channels AS c
        WHERE c.production = 'live' AND c.lease_until <= clock_timestamp() LIMIT 1000
      )
    ) AS p;
  ELSE
    found := ARRAY(
      SELECT p.name FROM ${s}.pending AS p WHERE p.name = ANY (channels) UNION
      SELECT c.name FROM ${s}.channels AS c
      WHERE c.name = ANY (channels) AND c.production = 'live' AND c.lease_until <= clock_timestamp()
    );
  END IF;
  IF cardinality(found) > 0 THEN
    RETURN QUERY SELECT r.dropped, NULL FROM ${s}.number(found, '{}', '{}', max_events) AS r;
  END IF;
  RETURN QUERY SELECT NULL, 'more' WHERE seen >= 1000;`,
    ),
  ].join("");
}
