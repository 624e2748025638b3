/**
 * What must happen at once runs in Redis, as a script on the one key of a channel. Plain `EVAL`:
 * Redis keeps the compiled script all the same, and the fallback that `EVALSHA` needs could change the
 * order in which one process's events are stored.
 */

const now = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
`;

/** A cutoff as an entry ID: everything older has left the history, whether it is still held or not. */
const cutoff = (maxAge: string) => `string.format('%.0f', math.max(0, now - ${maxAge}))`;

/**
 * KEYS: the stream. ARGV: how many entries to keep, maximum age, time to live, the channel's first count, then the
 * entry's fields. Replies with the entry's ID, or, where the channel has ended, with an error or (ending it again)
 * its mark.
 */
export const append: string = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and last[2][3] == 'end' then
  if ARGV[5] == 'end' then return last[1] end
  return redis.error_reply('ENDED')
end
${now}
local time, count = now, tonumber(ARGV[4])
if last then
  local lastTime, lastCount = string.match(last[1], '(%d+)-(%d+)')
  if tonumber(lastTime) >= now then time, count = tonumber(lastTime), tonumber(lastCount) + 1 end
end
local id = string.format('%.0f-%.0f', time, count)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id, 'after', last and last[1] or '0-0', unpack(ARGV, 5))
redis.call('XTRIM', KEYS[1], 'MINID', '~', ${cutoff("ARGV[2]")})
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return id
`;

/**
 * KEYS: the stream. ARGV: a position, maximum age.
 * Replies with the time, the IDs of the two newest entries, whether the newest is the end mark, and the ID of the
 * first entry after the position with the ID it names as its predecessor, then both of the first entry that has not aged
 * out; '' for each that is not there.
 */
export const locate: string = `
${now}
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 2)
local last, second = newest[1], newest[2]
local following = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 1)[1]
local oldest = redis.call('XRANGE', KEYS[1], ${cutoff("ARGV[2]")}, '+', 'COUNT', 1)[1]
return {
  string.format('%.0f', now),
  last and last[1] or '', second and second[1] or '',
  last and last[2][3] == 'end' and 'end' or '',
  following and following[1] or '', following and following[2][2] or '',
  oldest and oldest[1] or '', oldest and oldest[2][2] or '',
}
`;

/**
 * KEYS: the stream. ARGV: a position, how many entries, maximum age.
 * Replies with the entries after the position that have not aged out. The end mark never does.
 */
export const page: string = `
${now}
local from, oldest = '(' .. ARGV[1], ${cutoff("ARGV[3]")}
if tonumber(oldest) > tonumber(string.match(ARGV[1], '^%d+')) then from = oldest end
local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[2])
if #entries > 0 then return entries end
local mark = redis.call('XREVRANGE', KEYS[1], '+', '(' .. ARGV[1], 'COUNT', 1)
if mark[1] and mark[1][2][3] == 'end' then return mark end
return entries
`;
