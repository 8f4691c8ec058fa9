#!lua flags=no-writes
-- Returns what follows each cursor, states and events of one instant.
-- ARGV: prefix, bytes, (id, cursor) ...; returns (id, status, next number, pruned, (place, events) ...) ...
local PAGE, MOST = 64, 1024
local bytes_max = tonumber(ARGV[2])

local function segments(log, after)
  local found, size, from = {}, 0, after + 2
  while true do
    local page = redis.call('XRANGE', log, string.format('%d', from), '+', 'COUNT', PAGE)
    for _, entry in ipairs(page) do
      if size >= bytes_max or #found >= 2 * MOST then
        return found
      end
      found[#found + 1] = entry[1]
      found[#found + 1] = entry[2][2]
      size = size + #entry[2][2]
      from = tonumber(string.match(entry[1], '^%d+')) + 1
    end
    if #page < PAGE then
      return found
    end
  end
end

local told = {}
for at = 3, #ARGV, 2 do
  local id, log = ARGV[at], ARGV[1] .. ':log:' .. ARGV[at]
  local status, following, pruned =
    unpack(redis.call('HMGET', ARGV[1] .. ':request:' .. id, 'status', 'next_sequence', 'events_pruned'))
  if status then
    -- A log that the server has let expire was pruned, whoever notes it later.
    local gone = pruned == '1' or redis.call('EXISTS', log) == 0
    told[#told + 1] = { id, status, following, gone and 1 or 0, segments(log, tonumber(ARGV[at + 1])) }
  end
end
return told
