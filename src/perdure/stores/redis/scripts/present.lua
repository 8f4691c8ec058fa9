#!lua
-- Notes how many slots a worker has, and until when; forgets who was not heard of for an hour.
-- ARGV: prefix, worker, slots, seconds
local KEPT = 3600
local workers = ARGV[1] .. ':workers'
local now = redis.call('TIME')
now = now[1] + now[2] / 1e6
local known = redis.call('HGETALL', workers)
for at = 1, #known, 2 do
  if tonumber(string.match(known[at + 1], '%S+$')) < now - KEPT then
    redis.call('HDEL', workers, known[at])
  end
end
redis.call('HSET', workers, ARGV[2], string.format('%d %.6f', ARGV[3], now + ARGV[4]))
local left = math.max(redis.call('TTL', workers), math.ceil(ARGV[4]) + KEPT)
redis.call('EXPIRE', workers, string.format('%d', left))
return 1
