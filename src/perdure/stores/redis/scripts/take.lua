#!lua
-- Takes webhooks that are due, counts the attempt, and hides them from others for a while.
-- ARGV: prefix, seconds, limit; returns their fields
local due = ARGV[1] .. ':due'
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local later = string.format('%.6f', now + ARGV[2])
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', string.format('%.6f', now), 'LIMIT', 0, ARGV[3])) do
  local webhook = ARGV[1] .. ':webhook:' .. id
  if redis.call('EXISTS', webhook) == 1 then
    redis.call('HINCRBY', webhook, 'attempts', 1)
    redis.call('HSET', webhook, 'due_at', later)
    redis.call('ZADD', due, later, id)
    taken[#taken + 1] = redis.call('HGETALL', webhook)
  else
    redis.call('ZREM', due, id) -- a row of two fields would break whoever reads it
  end
end
return taken
