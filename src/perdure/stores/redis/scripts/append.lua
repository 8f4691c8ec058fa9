#!lua
-- Appends what is under a claim in force, at the right number: 1 = done, 0 = refused, 2 = not now,
-- because somebody who ends the request reads its log to the end just now.
-- ARGV: prefix, (id, claim, first, count, data, trace id, attempt, upstream, in doubt) ...; "" = not given
local prefix = ARGV[1]

local function note(request, name, value)
  if value ~= '' then
    redis.call('HSET', request, name, value)
  end
end

-- Whether an append whose answer was lost is there.
local function stored(log, following, first, count, data)
  if tonumber(following) ~= first + count then
    return false
  end
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return count == 0 or (last and last[2][2] == data)
end

local verdicts = {}
for at = 2, #ARGV, 9 do
  local id, claim, first, count, data, trace, attempt, upstream, doubt = unpack(ARGV, at, at + 8)
  local request, log = prefix .. ':request:' .. id, prefix .. ':log:' .. id
  local status, owner, following, person, created =
    unpack(redis.call('HMGET', request, 'status', 'claim_id', 'next_sequence', 'user_id', 'created_at'))
  local owned = status == 'streaming' and owner == claim
  first, count = tonumber(first), tonumber(count)
  if owned and redis.call('EXISTS', prefix .. ':frozen:' .. id) == 1 then
    verdicts[#verdicts + 1] = 2
  elseif owned and tonumber(following) == first then
    local last = string.format('%d', first + count)
    if count > 0 then
      redis.call('XADD', log, last .. '-0', 'e', data)
      redis.call('HSET', request, 'next_sequence', last)
    end
    note(request, 'trace_id', trace)
    note(request, 'attempt', attempt)
    note(request, 'upstream', upstream)
    if trace ~= '' then
      redis.call('ZADD', prefix .. ':trace:' .. #person .. ':' .. person .. ':' .. trace, created, id)
    end
    verdicts[#verdicts + 1] = 1
  elseif owned and doubt == '1' and stored(log, following, first, count, data) then
    verdicts[#verdicts + 1] = 1
  else
    verdicts[#verdicts + 1] = 0
  end
end
return verdicts
