import type { Define } from "./plpgsql.js";

/**
 * Does whatever `act` says. A producer may `claim` the channel, `append` its event of this number, `renew` its lease,
 * or `end` the channel, with `content` as the last event if there is any. Anybody may `stop` a producer. Returns a row
 * for each pending event that was dropped, then a row with the verdict.
 */
export function producingFunction(s: string, define: Define): string {
  return define(
    "produce(act text, channel text, token text, number bigint, content text, lease bigint, max_events bigint)",
    "TABLE (verdict text, dropped text)",
    `c record;
  lease_end timestamptz := clock_timestamp() + lease * interval '1 millisecond';`,
    `  -- A guessed name makes no channel.
  IF act <> 'claim' AND NOT EXISTS (SELECT FROM ${s}.channels AS h WHERE h.name = channel) THEN
    RETURN QUERY SELECT CASE act WHEN 'stop' THEN 'false' ELSE 'lost' END, NULL;
    RETURN;
  END IF;
  PERFORM ${s}.lock(ARRAY[channel]);
  -- Events that transactions have committed by now come first.
  RETURN QUERY SELECT NULL, r.dropped FROM ${s}.drain(ARRAY[channel], max_events) AS r WHERE r.dropped IS NOT NULL;
  SELECT * INTO c FROM ${s}.channels AS h WHERE h.name = channel;
  IF act = 'claim' THEN
    IF c.producer IS NULL AND c.ended_at IS NULL THEN
      UPDATE ${s}.channels AS h
      SET producer = token, production = 'live', lease_until = lease_end, touched = clock_timestamp() WHERE h.id = c.id;
      verdict := 'true';
    ELSE
      verdict := coalesce(c.producer = token AND c.production = 'live', false)::text;
    END IF;
  ELSIF act = 'stop' THEN
    verdict := coalesce(c.production = 'live', false)::text;
    UPDATE ${s}.channels AS h SET production = 'stopped', ended_at = clock_timestamp(), touched = clock_timestamp()
      WHERE h.id = c.id AND verdict = 'true';
  ELSE
    verdict := CASE WHEN c.producer IS DISTINCT FROM token THEN 'lost'
      WHEN c.production IN ('stopped', 'lost') THEN c.production ELSE 'held' END;
    IF verdict = 'held' AND c.production = 'live' THEN
      IF content IS NOT NULL AND (act = 'end' OR number > c.produced) THEN
        INSERT INTO ${s}.events (channel, n, at, payload) VALUES (c.id, c.last + 1, clock_timestamp(), content);
        UPDATE ${s}.channels AS h SET last = h.last + 1, produced = greatest(h.produced, number) WHERE h.id = c.id;
      END IF;
      UPDATE ${s}.channels AS h
      SET touched = clock_timestamp(),
        lease_until = CASE act WHEN 'renew' THEN lease_end ELSE h.lease_until END,
        production = CASE act WHEN 'end' THEN 'ended' ELSE h.production END,
        ended_at = CASE act WHEN 'end' THEN clock_timestamp() ELSE h.ended_at END
      WHERE h.id = c.id;
    END IF;
  END IF;
  -- A renewal changes nothing that anybody reads, and its notification would make the producer renew again.
  IF act <> 'renew' OR verdict <> 'held' THEN
    PERFORM ${s}.settle(ARRAY[channel], max_events);
  END IF;
  RETURN QUERY SELECT verdict, NULL::text;`,
  );
}
