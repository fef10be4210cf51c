-- Deletes the consumers of a group that hold nothing and have been idle for long, but for one.
-- KEYS: the stream. ARGV: the group, milliseconds, the consumer to keep. Tells how many went, a
-- thousand at most: nobody else is served meanwhile.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return consumers end
local deleted = 0
for _, told in ipairs(consumers) do
  local consumer = {}
  for place = 1, #told, 2 do consumer[told[place]] = told[place + 1] end
  local idle = consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2])
  if idle and consumer.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    deleted = deleted + 1
    if deleted == 1000 then break end
  end
end
return deleted
