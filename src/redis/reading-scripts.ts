import { clock, findRecord, onMaster, type Script, script } from "./script.js";

/**
 * KEYS: a stream, which is not read. ARGV: nonce.
 *
 * Replies nonce, time, 'time'.
 */
export const time: Script = script(`
${clock}
return { nonce, clock, 'time' }
`);

/**
 * A script that looks at several streams has to read entries whole. After 256 KiB, it leaves the other streams to later
 * calls, because Redis serves nobody else meanwhile. `isEnough()` tells when.
 */
const reading = `
local bytes = 0
local function isEnough() return bytes > 262144 end
local function count(entry)
  for _, field in ipairs(entry and entry[2] or {}) do bytes = bytes + #field end
  return entry
end
`;

/**
 * Finds out what streams hold, as seen from a position in each.
 *
 * KEYS: streams. ARGV: nonce, maximum age, then a position for each stream.
 *
 * Replies nonce, time, 'located', then a row for each stream, or for only the first of them if their entries are large:
 * the IDs of its two newest entries; 'end' if the newest is the end mark; the ID and the predecessor of the first entry
 * after the position; the ID and the predecessor of the first entry that has not aged out; 'produced' if the stream has
 * had a producer; for how many milliseconds the producer's lease still lasts. A value that does not exist is ''. If Redis
 * refuses to read a stream, its row is only the error.
 */
export const locate: Script = script(`
${clock}${onMaster}${findRecord}${reading}
local reply = { nonce, clock, 'located' }
for i, key in ipairs(KEYS) do
  if isEnough() then break end
  local position = ARGV[i + 2]
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 2)
  if newest.err then reply[i + 3] = { newest.err }
  else
    local last, second = count(newest[1]), count(newest[2])
    local following = count(redis.call('XRANGE', key, '(' .. position, '+', 'COUNT', 1)[1])
    local oldest = count(redis.call('XRANGE', key, cutoff(ARGV[2]), '+', 'COUNT', 1)[1])
    local record = recordOf(key, last)
    reply[i + 3] = {
      last and last[1] or '', second and second[1] or '',
      last and last[2][3] == 'end' and 'end' or '',
      following and following[1] or '', following and following[2][2] or '',
      oldest and oldest[1] or '', oldest and oldest[2][2] or '',
      record and 'produced' or '', restOf(record),
    }
  end
end
return reply
`);

/**
 * Reads entries after a position.
 *
 * KEYS: the stream. ARGV: nonce, a position, maximum age, the most bytes, the most entries. If there are entries, at
 * least one is returned, however large.
 *
 * Replies nonce, time, 'page', the ID of the newest entry (or '0-0'), for how many milliseconds a producer's lease
 * still lasts (or ''), 'more' if more entries are left (or ''), then the entries that have not aged out. The end mark
 * never ages out.
 */
export const page: Script = script(`
${clock}${onMaster}${findRecord}
local key, maxBytes, maxCount = KEYS[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
if newest.err then return { nonce, clock, 'error', newest.err } end
local reply = { nonce, clock, 'page', newest[1] and newest[1][1] or '0-0', restOf(recordOf(key)), '' }
local from, oldest = '(' .. ARGV[2], cutoff(ARGV[3])
if tonumber(oldest) > tonumber(string.match(ARGV[2], '^%d+')) then from = oldest end
local bytes, count, size = 0, 0, 4
while true do
  local entries = redis.call('XRANGE', key, from, '+', 'COUNT', size)
  for _, entry in ipairs(entries) do
    local length = 64
    for _, field in ipairs(entry[2]) do length = length + #field end
    if count == maxCount or (count > 0 and bytes + length > maxBytes) then
      reply[6] = 'more'
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
  if mark[1] then reply[7] = newest[1] end
end
return reply
`);

/**
 * Compares streams with what this process has read of them.
 *
 * KEYS: streams. ARGV: nonce, then for each stream the ID that its newest entry should have.
 *
 * Replies nonce, time, 'checked', then the index (from 0) of each stream whose newest entry has another ID, of each that
 * has a live producer, because the producer's lease must be watched, and of each that was not looked at.
 */
export const check: Script = script(`
${clock}${onMaster}${findRecord}${reading}
local function isQuiet(key, last)
  if isEnough() then return false end
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  if newest.err then return false end
  local entry = count(newest[1])
  if last ~= (entry and entry[1] or '0-0') then return false end
  local record = recordOf(key, entry)
  return not record or record.state ~= 'live'
end
local reply = { nonce, clock, 'checked' }
for i, key in ipairs(KEYS) do
  if not isQuiet(key, ARGV[i + 1]) then reply[#reply + 1] = tostring(i - 1) end
end
return reply
`);

/**
 * Finds what is left of the entries that this process has read.
 *
 * KEYS: the stream. ARGV: nonce, then the IDs of entries that were read, the newest first.
 *
 * Replies nonce, time, 'shared', the newest of the IDs that still exists, and ''. If none exists, the last two values
 * are '' and the ID after which to go on: that of the newest entry older than all of them, or the predecessor of the
 * stream's first entry, or '0-0' if the stream is empty.
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
