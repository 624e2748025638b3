import type { Define } from "./plpgsql.js";
import { literal } from "./sql.js";

/**
 * Functions that run in the application's transactions. They lock no channel, and read nothing that such transactions
 * write.
 */
export function transactionFunctions(s: string, bell: string, define: Define): string {
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
  IF content IS NULL AND EXISTS (
    SELECT FROM ${s}.channels AS c
    WHERE c.name = channel AND c.production = 'live' AND c.lease_until > clock_timestamp()
  ) THEN
    RETURN 'produced';
  END IF;
  INSERT INTO ${s}.pending (name, payload) VALUES (channel, content);
  -- Until this transaction is over, or rolled back to a savepoint before this.
  IF content IS NULL THEN PERFORM set_config('${ended}', ended_here || mark, true); END IF;
  PERFORM pg_notify(${literal(bell)}, '');
  RETURN NULL;`,
    ),
    // Publishes from triggers and from other languages.
    define(
      "publish(channel text, event json)",
      "void",
      `field text;
  kind text;
  parts text[] := '{}';`,
      `  -- A character of four bytes in UTF-8 has two units in UTF-16.
  IF channel IS NULL OR channel = '' OR length(channel) > 512 OR (octet_length(channel) > 512 AND length(channel) + (
    SELECT count(*) FROM regexp_split_to_table(channel, '') AS c WHERE octet_length(convert_to(c, 'UTF8')) = 4
  ) > 512) THEN
    RAISE EXCEPTION 'The channel''s name must have 1 to 512 UTF-16 units.' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF event IS NULL OR json_typeof(event) <> 'object' THEN
    RAISE EXCEPTION 'The event must be a JSON object such as {"data": 1}.' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR field, kind IN SELECT f.key, json_typeof(f.value) FROM json_each(event) AS f LOOP
    IF field NOT IN ('data', 'event', 'comment', 'retry') THEN
      RAISE EXCEPTION 'The event has the unknown field "%"; put your payload in "data".', field
        USING ERRCODE = 'invalid_parameter_value';
    ELSIF field = ANY (parts) THEN
      RAISE EXCEPTION 'The event has the field "%" twice.', field USING ERRCODE = 'invalid_parameter_value';
    ELSIF (field IN ('event', 'comment') AND kind <> 'string')
      OR (field = 'event' AND event ->> field ~ E'[\\r\\n]')
      OR (field = 'retry' AND (kind <> 'number' OR (event -> field)::text !~ '^[0-9]{1,15}$')) THEN
      RAISE EXCEPTION 'The event''s "%" is %; it must be %.', field, event -> field, CASE field
        WHEN 'retry' THEN 'a whole number of milliseconds'
        WHEN 'event' THEN 'a string without a line break'
        ELSE 'a string' END
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    parts := parts || field;
  END LOOP;
  IF cardinality(parts) = 0 OR ('event' = ANY (parts) AND NOT 'data' = ANY (parts)) THEN
    RAISE EXCEPTION 'The event has no data, so no browser would dispatch it; write "data": "".'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  INSERT INTO ${s}.pending (name, payload)
  SELECT replace(channel, chr(92), repeat(chr(92), 2)), '{' || string_agg(CASE
    WHEN f.key = 'data' AND json_typeof(f.value) = 'string' THEN '"text":' || f.value::text
    WHEN f.key = 'data' THEN '"json":' || to_json(f.value::text)::text
    WHEN f.key = 'retry' THEN '"retry":"' || f.value::text || '"'
    ELSE to_json(f.key)::text || ':' || f.value::text END, ',') || '}'
  FROM json_each(event) AS f;
  PERFORM pg_notify(${literal(bell)}, '');`,
    ),
  ].join("");
}
