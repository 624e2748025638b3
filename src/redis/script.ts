import { createHash } from "node:crypto";

/** Lua code that Redis runs as one step. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

export function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

/**
 * Each script's first argument is the question's nonce, and its reply begins with the nonce and the server's time. When
 * Redis refuses a command inside a script, the script replies with the error's text, so that this reply has the nonce
 * too.
 */
export const clock: string = `
local nonce = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local clock = string.format('%.0f', now)
local function cutoff(maxAge) return string.format('%.0f', math.max(0, now - maxAge)) end
`;

/**
 * Makes the script fail on a replica. A replica may hold less than its master, which would look like a loss. It refuses
 * every command that writes, even one that changes nothing, like this one.
 */
export const onMaster: string = `
local refusal = redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', '9007199254740991')
if type(refusal) == 'table' and refusal.err and string.find(refusal.err, 'READONLY') then return refusal end
`;

/**
 * A stream whose newest entry was not written by a broker belongs to somebody else. So does an empty stream that never
 * expires, such as one that an application created with a consumer group.
 */
export const newestOfOurs: string = `
local key = KEYS[1]
local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
if newest.err then return { nonce, clock, 'error', newest.err } end
local last = newest[1]
local isForeign
if last then isForeign = last[2][1] ~= 'after'
else isForeign = redis.call('EXISTS', key) == 1 and redis.call('PTTL', key) == -1 end
if isForeign then return { nonce, clock, 'foreign' } end
`;

/** The most bytes of fields that go in a message; a longer event is read from the stream. */
const longestMessage = 16_384;

/**
 * Adds an entry and publishes it. Returns its ID, or Redis' error. An ID is never older than the one before, even if
 * the clock steps back. `by` identifies the call that added the entry.
 */
export const adding: string = `
local keep, firstCount, database, ring = tonumber(ARGV[2]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local isTold = true
local lastTime, lastCount = string.match(last and last[1] or '0-0', '(%d+)-(%d+)')
lastTime, lastCount = tonumber(lastTime), tonumber(lastCount)
local function add(fields, extra, by)
  local at, n = now, firstCount
  if lastTime >= now then at, n = lastTime, lastCount + 1 end
  local id = string.format('%.0f-%.0f', at, n)
  local after = last and last[1] or '0-0'
  local bytes = 0
  for _, field in ipairs(fields) do bytes = bytes + #field end
  local message = database .. ' ' .. id .. ' ' .. after .. ' '
  if bytes <= ${longestMessage} then message = message .. cjson.encode(fields) end
  if by then
    fields[#fields + 1] = 'by'
    fields[#fields + 1] = by
  end
  local added = redis.pcall('XADD', key, 'MAXLEN', '~', keep + (extra or 0), id, 'after', after, unpack(fields))
  if type(added) == 'table' then return added.err end
  last = { id, { 'after', after, fields[1] } }
  lastTime, lastCount = at, n
  local heard = redis.pcall(ring, key, message)
  if type(heard) == 'table' then isTold = heard.err end
  return id
end
local function isId(added) return string.find(added, '^%d+-%d+$') end
local function slice(first, count) return { unpack(ARGV, first, first + count - 1) } end
`;

/**
 * The record of the channel's producer is a consumer group of the stream, so that it shares the stream's slot,
 * permissions and expiry. The group's name consists of the state, the length of the lease and the token. Its last
 * delivered ID consists of the time at which the lease ends and the number of the producer's last event.
 */
export const findRecord: string = `
local function recordOf(key, isThere)
  if not isThere and redis.call('EXISTS', key) == 0 then return end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local info = {}
    for i = 1, #group, 2 do info[group[i]] = group[i + 1] end
    local state, lease, token = string.match(info.name, '^(%a+):(%d+):(.+)$')
    local ends, number = string.match(info['last-delivered-id'], '(%d+)-(%d+)')
    if state then
      ends, number = tonumber(ends), tonumber(number)
      return { name = info.name, state = state, lease = lease, token = token, ends = ends, number = number }
    end
  end
end
-- For how many milliseconds the lease of a live producer still lasts (or '').
local function restOf(record)
  return record and record.state == 'live' and string.format('%.0f', record.ends - now) or ''
end
`;

/**
 * A producer whose lease has run out is lost. The next call of any script that writes records that first. `lose()`
 * returns an ID, or Redis' error if (say) its memory is full: then the record stays, so that a later call tries again.
 */
export const leasing: string = `
${findRecord}
local record = recordOf(key, last)
local function save(state)
  local name = state .. ':' .. record.lease .. ':' .. record.token
  local position = string.format('%.0f-%.0f', record.ends, record.number)
  if name == record.name then redis.call('XGROUP', 'SETID', key, name, position)
  else
    if record.name then redis.call('XGROUP', 'DESTROY', key, record.name) end
    redis.call('XGROUP', 'CREATE', key, name, position, 'MKSTREAM')
  end
  record.name, record.state = name, state
end
local function age()
  redis.call('XTRIM', key, 'MINID', '~', cutoff(ARGV[3]))
  local rest = tonumber(ARGV[4])
  if record and record.state == 'live' then rest = rest + math.max(0, record.ends - now) + 10000 end
  redis.call('PEXPIRE', key, string.format('%.0f', rest))
end
local function lose()
  local added = add({ 'event', 'lost', 'text', '' })
  return isId(added) and add({ 'end', '' }, 1) or added
end
if record and record.state == 'live' and now >= record.ends then
  local lost = lose()
  if not isId(lost) then return { nonce, clock, 'error', lost } end
  save('lost')
  age()
end
-- A script is not rolled back: without this permission, a new key would be left without an expiry.
if not last then age() end
`;
