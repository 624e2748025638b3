import { adding, clock, leasing, newestOfOurs, type Script, script } from "./script.js";

/**
 * After a lost connection, a client may repeat a call that Redis has already carried out, as ioredis does. This finds
 * the entries that the first call stored: they are among those that are newer than `since`. The search stops if none of
 * the newest 1,000 is one of them, so that a busy channel does not hold up Redis.
 *
 * It relies on `since`, so nothing is stored while the clock is so far behind that a new entry would be older.
 */
const findRepeated = `
local since, stored, oldest, newest = ARGV[9], {}, nil, '+'
local function isOlder(a, b)
  local aTime, aCount = string.match(a, '(%d+)-(%d+)')
  local bTime, bCount = string.match(b, '(%d+)-(%d+)')
  return tonumber(aTime) < tonumber(bTime) or aTime == bTime and tonumber(aCount) < tonumber(bCount)
end
local isNewest = last and last[1] == since
local isBehind = not isNewest and (not last or isOlder(last[1], since))
local isSearching, pages = not isNewest and not isBehind, 0
while isSearching and (oldest or pages < 10) do
  pages = pages + 1
  local entries = redis.call('XREVRANGE', key, newest, '(' .. since, 'COUNT', 100)
  for _, entry in ipairs(entries) do
    local by = entry[2][#entry[2]]
    if string.sub(by, 1, #nonce + 1) == nonce .. ' ' then
      oldest = tonumber(string.sub(by, #nonce + 2))
      stored[oldest] = entry[1]
    elseif oldest then isSearching = false end
  end
  if #entries < 100 then break end
  newest = '(' .. entries[#entries][1]
end
if isBehind and not isOlder(since, clock .. '-0') then return { nonce, clock, 'behind' } end
`;

/**
 * Adds events.
 *
 * KEYS: the stream. ARGV: nonce, how many entries to keep, maximum age, time to live, the channel's first count, the
 * database, the command that publishes messages, '1' to check first that this user may use that command, an ID older
 * than any that this call makes; then for each event the number of its arguments, and the arguments. The end mark is
 * the field 'end'.
 *
 * Replies nonce, time, 'stored', the error from publishing the messages (or ''), then for each event its ID, 'ENDED',
 * 'PRODUCED' or an error. Or replies nonce, time, 'behind', and has stored nothing: the ID that should be older than
 * any that this call makes is ahead of the clock.
 */
export const append: Script = script(`
${clock}${newestOfOurs}${adding}${leasing}
if ARGV[8] == '1' then
  local heard = redis.pcall(ring, key, '')
  if type(heard) == 'table' then return { nonce, clock, 'denied', heard.err } end
end
${findRepeated}
local results, at, isAged = { nonce, clock, 'stored', '' }, 10, false
while at <= #ARGV do
  local index = #results - 3
  local count, isEnd, result = tonumber(ARGV[at]), ARGV[at + 1] == 'end', nil
  if stored[index] then
    result = stored[index]
  elseif oldest and index < oldest then
    -- Nothing is stored after an end mark, so this one was refused.
    result = isEnd and 'PRODUCED'
      or 'the client sent the call twice; the event was stored, and has left the channel since'
  elseif last and last[2][3] == 'end' then
    result = isEnd and last[1] or 'ENDED'
  elseif isEnd and record and record.state == 'live' then
    result = 'PRODUCED'
  else
    result = add(slice(at + 1, count), isEnd and 1 or 0, nonce .. ' ' .. index)
    isAged = true
  end
  results[#results + 1] = result
  at = at + count + 1
end
if isAged then age() end
if isTold ~= true then results[4] = isTold end
return results
`);

/**
 * Carries out a request about a channel's producer.
 *
 * KEYS: the stream. ARGV: the first seven as for `append`, then the verb, the producer's token, a number (the length of
 * the lease, or the number of the event), and an event's fields.
 *
 * Replies nonce, time, 'produced', the verdict, and for how many milliseconds the lease of a live producer still lasts
 * (or '').
 */
export const produce: Script = script(`
${clock}${newestOfOurs}${adding}${leasing}
local verb, token, number, fields = ARGV[8], ARGV[9], tonumber(ARGV[10]), slice(11, #ARGV - 10)
local function reply(verdict)
  if isTold ~= true then return { nonce, clock, 'denied', isTold } end
  return { nonce, clock, 'produced', verdict, restOf(record) }
end
if verb == 'expire' then
  -- Redis has lost the record, with or without the events: nobody else may be left to end the channel.
  if not record and not (last and last[2][3] == 'end') then
    local lost = lose()
    if not isId(lost) then return { nonce, clock, 'error', lost } end
    age()
  end
  return reply('')
end
if verb == 'stop' then
  -- The client may send the call again after a lost reply.
  if last and last[2][#last[2]] == nonce then return reply('stopped') end
  if not record or record.state ~= 'live' then return reply('none') end
  local added = add({ 'end', '' }, 1, nonce)
  if not isId(added) then return { nonce, clock, 'error', added } end
  save('stopped')
  age()
  return reply('stopped')
end
if verb == 'claim' then
  if record then return reply(record.token == token and record.state == 'live' and 'held' or 'taken') end
  if last and last[2][3] == 'end' then return reply('taken') end
  record = { lease = ARGV[10], token = token, ends = now + number, number = 0 }
  save('live')
  age()
  local heard = redis.pcall(ring, key, 'claimed')
  if type(heard) == 'table' then isTold = heard.err end
  return reply('held')
end
if not record or record.token ~= token then return reply('lost') end
if record.state == 'ended' then return reply('held') end
if record.state ~= 'live' then return reply(record.state) end
if verb == 'renew' then
  record.ends = now + number
  save('live')
elseif verb == 'append' and number > record.number then
  local added = add(fields)
  if not isId(added) then return { nonce, clock, 'error', added } end
  record.number = number
  save('live')
elseif verb == 'end' then
  if #fields > 0 then add(fields) end
  local added = add({ 'end', '' }, 1)
  if not isId(added) then return { nonce, clock, 'error', added } end
  save('ended')
end
age()
return reply('held')
`);
