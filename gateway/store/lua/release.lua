-- Remove a job's claim. Returns its body, or nothing.
local body = redis.call('HGET', P .. 'claims', ARGV[4])
if not body then
  return false
end
local claim = cjson.decode(body)
redis.call('HDEL', P .. 'claims', ARGV[4])
redis.call('HDEL', P .. 'holders:' .. claim.room, claim.agent)
look(claim.room)
return body
