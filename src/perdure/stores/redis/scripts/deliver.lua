#!lua
-- Takes what was admitted and not claimed for so long, and doubles its next waiting time.
-- ARGV: prefix, seconds, longest wait, least distance of two deliveries; returns ids
local after, longest, least = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local dispatched = ARGV[1] .. ':dispatched'
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local due = {}
local waiting = redis.call('ZRANGE', dispatched, 0, -1, 'WITHSCORES')
for at = 1, #waiting, 2 do
  local request = ARGV[1] .. ':request:' .. waiting[at]
  local deliveries = tonumber(redis.call('HGET', request, 'deliveries') or 0)
  local wait = math.max(after * 2 ^ math.min(deliveries, 10), least * math.min(deliveries, 1))
  if waiting[at + 1] + math.min(longest, wait) < now then
    local at_last = string.format('%.6f', now)
    redis.call('HSET', request, 'deliveries', string.format('%d', deliveries + 1), 'dispatched_at', at_last)
    redis.call('ZADD', dispatched, at_last, waiting[at])
    due[#due + 1] = waiting[at]
  end
end
return due
