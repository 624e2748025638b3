import { clock, findRecord, onMaster, type Script, script } from "./script.js";

/**
 * KEYS: streams. ARGV: nonce, maximum age, for each a position.
 * Replies nonce, time, 'located', then for each: the IDs of the two newest entries, whether the newest is the end mark, the
 * ID of the first entry after the position with the ID it names as its predecessor, both of the first entry that has not
 * aged out, and whether it has had a producer; '' for each that is not there. Or Redis' refusal alone.
 */
export const locate: Script = script(`
${clock}${onMaster}${findRecord}
local reply = { nonce, clock, 'located' }
for i, key in ipairs(KEYS) do
  local position = ARGV[i + 2]
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 2)
  if newest.err then reply[i + 3] = { newest.err }
  else
    local last, second = newest[1], newest[2]
    local following = redis.call('XRANGE', key, '(' .. position, '+', 'COUNT', 1)[1]
    local oldest = redis.call('XRANGE', key, cutoff(ARGV[2]), '+', 'COUNT', 1)[1]
    reply[i + 3] = {
      last and last[1] or '', second and second[1] or '',
      last and last[2][3] == 'end' and 'end' or '',
      following and following[1] or '', following and following[2][2] or '',
      oldest and oldest[1] or '', oldest and oldest[2][2] or '',
      recordOf(key) and 'produced' or '',
    }
  end
end
return reply
`);

/**
 * KEYS: the stream. ARGV: nonce, a position, maximum age, how many bytes and how many entries at most (one at least).
 * Replies nonce, time, 'page', the ID of the newest entry or '0-0', for how many milliseconds a producer's
 * lease lasts or '', 'more' or '', then the entries after the position that have
 * not aged out. The end mark never does.
 */
export const page: Script = script(`
${clock}${onMaster}${findRecord}
local key, maxBytes, maxCount = KEYS[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
if newest.err then return { nonce, clock, 'error', newest.err } end
local record = recordOf(key)
local lease = record and record.state == 'live' and string.format('%.0f', record.ends - now) or ''
local reply = { nonce, clock, 'page', newest[1] and newest[1][1] or '0-0', lease, '' }
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
 * KEYS: streams. ARGV: nonce, for each the ID that should be its newest entry's.
 * Replies nonce, time, 'checked', then the number (from 0) of each of which it is not, and of each that has a producer,
 * whose lease somebody must mind.
 */
export const check: Script = script(`
${clock}${onMaster}${findRecord}
local reply = { nonce, clock, 'checked' }
for i, key in ipairs(KEYS) do
  local newest = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  local id = not newest.err and (newest[1] and newest[1][1] or '0-0')
  local record = id == ARGV[i + 1] and recordOf(key) or nil
  if id ~= ARGV[i + 1] or (record and record.state == 'live') then reply[#reply + 1] = tostring(i - 1) end
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
