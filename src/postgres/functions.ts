import { dollarQuoted, literal } from "./sql.js";

/** How many events of a channel one read brings, and about how many bytes. */
const pageEvents = 256;
const pageBytes = 1_000_000;

/** Ages come in milliseconds. */
const ago = (age: string): string => `clock_timestamp() - ${age} * interval '1 millisecond'`;

const milliseconds = (time: string): string => `floor(extract(epoch FROM ${time}) * 1000)::text`;

/**
 * What must happen at once runs in the database. Each function returns text only, so that no type parser takes part, and plans
 * without a sequential scan: plans live as long as a session, and may be older than the tables are large. JIT would cost 200 ms
 * on a check of 10,000 channels.
 *
 * Locks: a channel's row is locked before its events are numbered or deleted and before what is pending for it is taken; several
 * are locked in the order of their names, and the sweep skips what is locked. So nothing ever waits in a circle. An
 * application's transaction only inserts into `pending`.
 */
export function functions(s: string, bell: string): string {
  const define = (head: string, returns: string, declare: string, body: string): string =>
    `CREATE OR REPLACE FUNCTION ${s}.${head} RETURNS ${returns}
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS ${dollarQuoted(`
#variable_conflict use_column
DECLARE
  ${declare}
BEGIN
${body}
END
`)};
`;
  return [
    // The first eight digits of a WAL file's name are the server's timeline: another one after a promotion or a restore.
    define(
      "timeline()",
      "bigint",
      "",
      `  RETURN ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
EXCEPTION WHEN OTHERS THEN
  RETURN 0; -- A server that does not tell.`,
    ),
    `CREATE OR REPLACE FUNCTION ${s}.key(name text) RETURNS text LANGUAGE sql AS ${dollarQuoted(
      `SELECT left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 16)`,
    )};
`,
    // Numbers what is pending for these channels, then what is published directly. Returns a row for each of the latter with its
    // id, null where the channel has ended, and one for each pending event that was dropped because of that.
    define(
      "number(channels text[], names text[], payloads text[], max_events bigint)",
      "TABLE (item text, id text, dropped text)",
      `wanted text[] := ARRAY(SELECT DISTINCT w COLLATE "C" FROM unnest(channels) AS w ORDER BY 1);
  here bigint := ${s}.timeline();
  locked bigint;
  long record;`,
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
  RETURN QUERY
  WITH taken AS (
    DELETE FROM ${s}.pending AS p WHERE p.name = ANY (wanted) RETURNING p.id, p.name, p.payload
  ), items AS (
    SELECT false AS is_direct, t.id AS place, t.name, t.payload FROM taken AS t
    UNION ALL
    SELECT true, d.place, d.name, d.payload FROM unnest(names, payloads) WITH ORDINALITY AS d (name, payload, place)
  ), judged AS (
    SELECT i.*, c.id AS channel, c.era, c.last,
      c.ended_at IS NULL AND count(*) FILTER (WHERE i.payload IS NULL) OVER so_far = 0 AS is_accepted
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
      SELECT v.channel, max(v.n) AS last, bool_or(v.payload IS NULL) AS is_ended FROM numbered AS v GROUP BY v.channel
    ) AS m
    WHERE c.id = m.channel AND (m.last > c.last OR m.is_ended)
  )
  SELECT CASE WHEN v.is_direct THEN v.place::text END,
    CASE WHEN v.is_accepted OR v.payload IS NULL THEN to_hex(v.channel) || '.' || v.era || '-' || v.n END,
    CASE WHEN NOT v.is_direct THEN v.name END
  FROM numbered AS v
  WHERE v.is_direct OR (v.payload IS NOT NULL AND NOT v.is_accepted);
  FOR long IN
    SELECT c.id, c.trimmed, c.last - max_events AS new_trimmed FROM ${s}.channels AS c
    WHERE c.name = ANY (wanted) AND c.last - c.trimmed > max_events + max_events / 8
  LOOP
    DELETE FROM ${s}.events AS e WHERE e.channel = long.id AND e.n > long.trimmed AND e.n <= long.new_trimmed;
    UPDATE ${s}.channels AS c SET trimmed = long.new_trimmed WHERE c.id = long.id;
  END LOOP;
  -- A payload has room for 8,000 bytes.
  PERFORM pg_notify(${literal(bell)}, string_agg(
      ${s}.key(c.name) || ':' || c.last || CASE WHEN c.ended_at IS NULL THEN '' ELSE '!' END, ','))
    FROM ${s}.channels AS c WHERE c.name = ANY (wanted)
    GROUP BY array_position(wanted, c.name) / 200;`,
    ),
    // What is pending, of these channels or (null) of the first few; a last row tells whether more may be waiting.
    define(
      "drain(channels text[], max_events bigint)",
      "TABLE (dropped text, has_more text)",
      `found text[];
  seen bigint;`,
      `  IF channels IS NULL THEN
    SELECT array_agg(DISTINCT p.name), count(*) INTO found, seen FROM (SELECT name FROM ${s}.pending LIMIT 1000) AS p;
  ELSE
    found := ARRAY(SELECT DISTINCT p.name FROM ${s}.pending AS p WHERE p.name = ANY (channels));
  END IF;
  IF cardinality(found) > 0 THEN
    RETURN QUERY SELECT r.dropped, NULL FROM ${s}.number(found, '{}', '{}', max_events) AS r;
  END IF;
  RETURN QUERY SELECT NULL, 'more' WHERE seen >= 1000;`,
    ),
    // Where each channel stands, in the order of the names; all null but the clock where it does not exist.
    define(
      "locate(names text[], max_age bigint)",
      "TABLE (clock text, id text, era text, prior_era text, since text, last text, ended text, born text, start text)",
      "",
      `  RETURN QUERY
  SELECT ${milliseconds("clock_timestamp()")}, to_hex(c.id), c.era::text, c.prior_era::text, c.since::text, c.last::text,
    c.ended_at::text, ${milliseconds("c.born")}, coalesce(oldest.n - 1, c.last)::text
  FROM unnest(names) WITH ORDINALITY AS q (name, place)
  LEFT JOIN ${s}.channels AS c ON c.name = q.name
  LEFT JOIN LATERAL (
    SELECT e.n FROM ${s}.events AS e WHERE e.channel = c.id AND e.n > c.trimmed AND e.at >= ${ago("max_age")}
    ORDER BY e.n LIMIT 1
  ) AS oldest ON true
  ORDER BY q.place;`,
    ),
    // What comes after a place: the channels that are not as they were known, each with a page of its events, or with none.
    define(
      "read(names text[], known text[], afters bigint[], max_age bigint, with_events boolean)",
      "TABLE (place text, id text, era text, prior_era text, since text, last text, ended text, born text, at text, n text, payload text)",
      "",
      `  RETURN QUERY
  SELECT q.place::text, to_hex(c.id), c.era::text, c.prior_era::text, c.since::text, c.last::text,
    c.ended_at::text, ${milliseconds("c.born")}, (extract(epoch FROM page.at) * 1000000)::bigint::text, page.n::text, page.payload
  FROM unnest(names, known, afters) WITH ORDINALITY AS q (name, known, after, place)
  JOIN ${s}.channels AS c ON c.name = q.name
  LEFT JOIN LATERAL (
    SELECT w.n, w.at, w.payload FROM (
      SELECT e.n, e.at, e.payload, sum(octet_length(e.payload)) OVER (ORDER BY e.n) - octet_length(e.payload) AS bytes
      FROM ${s}.events AS e
      WHERE with_events AND c.last > q.after AND e.channel = c.id AND e.n > greatest(q.after, c.trimmed)
        AND e.at >= ${ago("max_age")}
      ORDER BY e.n LIMIT ${pageEvents}
    ) AS w WHERE w.bytes < ${pageBytes}
  ) AS page ON true
  WHERE c.last <> q.after OR c.ended_at IS NOT NULL OR to_hex(c.id) || '.' || c.era <> q.known
  ORDER BY q.place, page.n;`,
    ),
    // Keeps channels that are subscribed to: none is forgotten that was touched within the age.
    define(
      "touch(names text[], age bigint)",
      "void",
      "",
      `  UPDATE ${s}.channels SET touched = clock_timestamp() WHERE id IN (
    SELECT c.id FROM ${s}.channels AS c WHERE c.name = ANY (names) AND c.touched < ${ago("age")} FOR UPDATE SKIP LOCKED
  );`,
    ),
    sweepFunction(s, define),
    pendingFunctions(s, bell, define),
  ].join("");
}

type Define = (head: string, returns: string, declare: string, body: string) => string;

/** Looks through the next thousand channels, deletes what has aged out and forgets who is idle. Returns where to go on, or null. */
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
      AND NOT EXISTS (SELECT FROM ${s}.pending AS p WHERE p.name = c.name);
  END IF;
  RETURN go_on::text;`,
  );
}

/** What runs in the application's transaction: it takes no lock of a channel, and reads nothing that such transactions write. */
function pendingFunctions(s: string, bell: string, define: Define): string {
  const ended = "event_source.ended";
  return [
    define(
      "enqueue(channel text, content text)",
      "text",
      `mark text := ${literal(`${bell}:`)} || ${s}.key(channel) || ' ';
  ended_here text := coalesce(current_setting('${ended}', true), '');`,
      `  IF strpos(ended_here, mark) > 0
    OR EXISTS (SELECT FROM ${s}.channels AS c WHERE c.name = channel AND c.ended_at IS NOT NULL) THEN
    RETURN 'ended';
  END IF;
  INSERT INTO ${s}.pending (name, payload) VALUES (channel, content);
  -- Until this transaction is over, or rolled back to a savepoint before this.
  IF content IS NULL THEN PERFORM set_config('${ended}', ended_here || mark, true); END IF;
  PERFORM pg_notify(${literal(bell)}, '');
  RETURN NULL;`,
    ),
    // For triggers and other languages.
    define(
      "publish(channel text, event json)",
      "void",
      `field text;
  kind text;
  parts text[] := '{}';`,
      `  IF channel IS NULL OR channel = '' OR length(channel) > 512 THEN
    RAISE EXCEPTION 'The channel''s name must have 1 to 512 characters.' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF event IS NULL OR json_typeof(event) <> 'object' THEN
    RAISE EXCEPTION 'The event must be a JSON object such as {"data": 1}.' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR field, kind IN SELECT f.key, json_typeof(f.value) FROM json_each(event) AS f LOOP
    IF field NOT IN ('data', 'event', 'comment', 'retry') OR field = ANY (parts) THEN
      RAISE EXCEPTION 'The event has "%", which is no field of its own; put your payload in "data".', field
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (field IN ('event', 'comment') AND kind <> 'string')
      OR (field = 'event' AND event ->> field ~ '[\\r\\n]')
      OR (field = 'retry' AND (kind <> 'number' OR (event -> field)::text !~ '^[0-9]{1,15}$')) THEN
      RAISE EXCEPTION 'The event''s "%" is %; it must be % without a line break in "event".', field, event -> field,
        CASE field WHEN 'retry' THEN 'a whole number of milliseconds' ELSE 'a string' END
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    parts := parts || field;
  END LOOP;
  IF cardinality(parts) = 0 OR ('event' = ANY (parts) AND NOT 'data' = ANY (parts)) THEN
    RAISE EXCEPTION 'The event has no data, so no browser would dispatch it; write "data": "".'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO ${s}.pending (name, payload)
  SELECT replace(channel, '\\', '\\\\'), '{' || string_agg(CASE
    WHEN f.key = 'data' AND json_typeof(f.value) = 'string' THEN '"text":' || f.value::text
    WHEN f.key = 'data' THEN '"json":' || to_json(f.value::text)::text
    WHEN f.key = 'retry' THEN '"retry":"' || f.value::text || '"'
    ELSE to_json(f.key)::text || ':' || f.value::text END, ',') || '}'
  FROM json_each(event) AS f;
  PERFORM pg_notify(${literal(bell)}, '');`,
    ),
  ].join("");
}
