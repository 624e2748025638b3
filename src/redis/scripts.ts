import { createHash } from "node:crypto";

/** What must happen at once runs in Redis. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Each script's first argument is the question's nonce, and so is the first thing it replies. Then comes the server's
 * time. What Redis refuses inside a script is replied as text, so that it carries the nonce, too.
 */
const clock = `
local nonce = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local clock = string.format('%.0f', now)
local function cutoff(maxAge) return string.format('%.0f', math.max(0, now - maxAge)) end
`;

/**
 * A replica replies what it has, which may be less than the master: taken for the truth, that would be a loss. It refuses
 * a command that writes even where nothing is to be done.
 */
const onMaster = `
local refusal = redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', '9007199254740991')
if type(refusal) == 'table' and refusal.err and string.find(refusal.err, 'READONLY') then return refusal end
`;

/**
 * Where the newest entry is none of a broker's, the stream is somebody else's. So is one that is empty and never expires,
 * such as a consumer group makes.
 */
const newestOfOurs = `
local key = KEYS[1]
local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
if newest.err then return { nonce, clock, 'error', newest.err } end
local last = newest[1]
local isForeign
if last then isForeign = last[2][1] ~= 'after'
else isForeign = redis.call('EXISTS', key) == 1 and redis.call('PTTL', key) == -1 end
if isForeign then return { nonce, clock, 'foreign' } end
`;

/** So many bytes of fields are in a message at most; a longer event is read from the stream. */
const longestMessage = 16_384;

/**
 * Adds an entry, and rings: \`add(first, count)\` are the fields in ARGV. Returns its ID, or Redis' refusal. An ID is
 * never older than the one before, wherever the clock goes.
 */
const adding = `
local keep, firstCount, database, ring = tonumber(ARGV[2]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local isTold = true
local function add(first, count, extra)
  local at, n = now, firstCount
  if last then
    local lastTime, lastCount = string.match(last[1], '(%d+)-(%d+)')
    if tonumber(lastTime) >= now then at, n = tonumber(lastTime), tonumber(lastCount) + 1 end
  end
  local id = string.format('%.0f-%.0f', at, n)
  local after = last and last[1] or '0-0'
  local fields, bytes = {}, 0
  for i = first, first + count - 1 do
    fields[#fields + 1] = ARGV[i]
    bytes = bytes + #ARGV[i]
  end
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', keep + (extra or 0), id, 'after', after, unpack(fields))
  if type(added) == 'table' then return added.err end
  last = { id, { 'after', after, fields[1] } }
  local message = database .. ' ' .. id .. ' ' .. after .. ' '
  if bytes <= ${longestMessage} then message = message .. cjson.encode(fields) end
  local heard = redis.pcall(ring, key, message)
  if type(heard) == 'table' then isTold = heard.err end
  return id
end
local function age()
  redis.call('XTRIM', key, 'MINID', '~', cutoff(ARGV[3]))
  redis.call('PEXPIRE', key, ARGV[4])
end
`;

/**
 * KEYS: the stream. ARGV: nonce, how many entries to keep, maximum age, time to live, the channel's first count, the
 * database, the command that rings, '1' to check first that this user may ring; then each event: how many arguments, and
 * those. The end mark is the field 'end'.
 *
 * Replies nonce, time, 'stored', what the bell's refusal was or '', then for each event its ID, 'ENDED' or Redis' refusal.
 */
export const append: Script = script(`
${clock}${newestOfOurs}${adding}
if ARGV[8] == '1' then
  local heard = redis.pcall(ring, key, '')
  if type(heard) == 'table' then return { nonce, clock, 'denied', heard.err } end
end
local results, at, isAged = { nonce, clock, 'stored', '' }, 9, false
while at <= #ARGV do
  local count, isEnd = tonumber(ARGV[at]), ARGV[at + 1] == 'end'
  if last and last[2][3] == 'end' then
    results[#results + 1] = isEnd and last[1] or 'ENDED'
  else
    results[#results + 1] = add(at + 1, count, isEnd and 1 or 0)
    isAged = true
  end
  at = at + count + 1
end
if isAged then age() end
if isTold ~= true then results[4] = isTold end
return results
`);

/**
 * KEYS: the stream. ARGV: nonce, a position, maximum age.
 * Replies nonce, time, 'located', the IDs of the two newest entries, whether the newest is the end mark, and the ID of the
 * first entry after the position with the ID it names as its predecessor, then both of the first entry that has not aged
 * out; '' for each that is not there.
 */
export const locate: Script = script(`
${clock}${onMaster}
local newest = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 2)
if newest.err then return { nonce, clock, 'error', newest.err } end
local last, second = newest[1], newest[2]
local following = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', 1)[1]
local oldest = redis.call('XRANGE', KEYS[1], cutoff(ARGV[3]), '+', 'COUNT', 1)[1]
return {
  nonce, clock, 'located',
  last and last[1] or '', second and second[1] or '',
  last and last[2][3] == 'end' and 'end' or '',
  following and following[1] or '', following and following[2][2] or '',
  oldest and oldest[1] or '', oldest and oldest[2][2] or '',
}
`);

/**
 * KEYS: the stream. ARGV: nonce, a position, maximum age, how many bytes and how many entries at most (one at least).
 * Replies nonce, time, 'page', the ID of the newest entry or '0-0', 'more' or '', then the entries after the position that have
 * not aged out. The end mark never does.
 */
export const page: Script = script(`
${clock}${onMaster}
local key, maxBytes, maxCount = KEYS[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
if newest.err then return { nonce, clock, 'error', newest.err } end
local reply = { nonce, clock, 'page', newest[1] and newest[1][1] or '0-0', '' }
local from, oldest = '(' .. ARGV[2], cutoff(ARGV[3])
if tonumber(oldest) > tonumber(string.match(ARGV[2], '^%d+')) then from = oldest end
local bytes, count, size = 0, 0, 4
while true do
  local entries = redis.call('XRANGE', key, from, '+', 'COUNT', size)
  for _, entry in ipairs(entries) do
    local length = 64
    for _, field in ipairs(entry[2]) do length = length + #field end
    if count == maxCount or (count > 0 and bytes + length > maxBytes) then
      reply[5] = 'more'
      return reply
    end
    reply[#reply + 1] = entry
    bytes, count = bytes + length, count + 1
  end
  if #entries < size then break end
  from = '(' .. entries[#entries][1]
  size = math.max(1, math.min(maxCount - count + 1, math.ceil((maxBytes - bytes) / (bytes / count))))
end
if count == 0 and newest[1] and newest[1][2][3] == 'end' then
  local mark = redis.call('XRANGE', key, '(' .. ARGV[2], '+', 'COUNT', 1)
  if mark[1] then reply[6] = newest[1] end
end
return reply
`);

/**
 * KEYS: streams. ARGV: nonce, for each the ID that should be its newest entry's.
 * Replies nonce, time, 'checked', then the number (from 0) of each of which it is not.
 */
export const check: Script = script(`
${clock}${onMaster}
local reply = { nonce, clock, 'checked' }
for i, key in ipairs(KEYS) do
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  local id = not newest.err and (newest[1] and newest[1][1] or '0-0')
  if id ~= ARGV[i + 1] then reply[#reply + 1] = tostring(i - 1) end
end
return reply
`);

/**
 * KEYS: the stream. ARGV: nonce, IDs that have been read, the newest first.
 * Replies nonce, time, 'shared', the newest of them that is still there, or, where none is, '', and the place after the newest
 * entry that is older than all of them, or before the first that is there.
 */
export const shared: Script = script(`
${clock}${onMaster}
local key = KEYS[1]
local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
if not first then return { nonce, clock, 'shared', '', '0-0' } end
for i = 2, #ARGV do
  if redis.call('XRANGE', key, ARGV[i], ARGV[i], 'COUNT', 1)[1] then return { nonce, clock, 'shared', ARGV[i], '' } end
end
local older = redis.call('XREVRANGE', key, ARGV[#ARGV], '-', 'COUNT', 1)[1]
return { nonce, clock, 'shared', '', older and older[1] or first[2][2] }
`);
