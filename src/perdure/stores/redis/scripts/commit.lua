#!lua
-- Writes a draft, whole, if nothing that it was made from has changed: 1 = written, 0 = changed.
-- ARGV: key of the token, count and (key, field, "-" or "=" and value) ..., count and (size, words ...) ...
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

-- A commit whose answer was lost is sent again under the same token.
local token = take()
if redis.call('EXISTS', token) == 1 then
  return 1
end

for _ = 1, tonumber(take()) do
  local key, field, expected = take(), take(), take()
  local found
  if field == '' then
    found = redis.call('GET', key)
  else
    found = redis.call('HGET', key, field)
  end
  if (found and '=' .. found or '-') ~= expected then
    return 0
  end
end

-- A script that fails in its middle leaves what it wrote: whatever can fail is looked at before.
local KIND = { HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', CHANGED = 'hash', ZADD = 'zset', ZREM = 'zset', XADD = 'stream' }
local commands = {}
for n = 1, tonumber(take()) do
  local command = {}
  for word = 1, tonumber(take()) do
    command[word] = take()
  end
  local kind, there = KIND[command[1]], redis.call('TYPE', command[2]).ok
  if kind and there ~= 'none' and there ~= kind then
    return redis.error_reply('WRONGTYPE ' .. command[2] .. ' is no ' .. kind)
  end
  commands[n] = command
end

-- Gives a chat the next revision of its person: CHANGED people person chat changes id;
-- without a list of changes nobody is told.
local function change(_, people, person, chat, changes, id)
  local revision = redis.call('HINCRBY', people, person, 1)
  redis.call('HSET', chat, 'revision', revision)
  if changes ~= '' then
    redis.call('ZADD', changes, revision, id)
  end
end

for _, command in ipairs(commands) do
  if command[1] == 'CHANGED' then
    change(unpack(command))
  else
    redis.call(unpack(command))
  end
end
redis.call('SET', token, 1, 'EX', 60)
return 1
