#!lua
-- Extends leases by the server's clock; returns the ids that are still owned.
-- ARGV: prefix, seconds, (id, claim) ...
local now = redis.call('TIME')
local lease = string.format('%.6f', now[1] + now[2] / 1e6 + ARGV[2])
local kept = {}
for at = 3, #ARGV, 2 do
  local request = ARGV[1] .. ':request:' .. ARGV[at]
  local status, owner = unpack(redis.call('HMGET', request, 'status', 'claim_id'))
  if status == 'streaming' and owner == ARGV[at + 1] then
    redis.call('HSET', request, 'lease_until', lease)
    redis.call('ZADD', ARGV[1] .. ':running', lease, ARGV[at])
    kept[#kept + 1] = ARGV[at]
  end
end
return kept
