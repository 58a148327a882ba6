-- Remove up to `limit` wants that ended before a time, and as many expired invitations. Returns both numbers.
local before, limit = ARGV[4], ARGV[5]
local old = redis.call('ZRANGEBYSCORE', P .. 'ended', '-inf', '(' .. before, 'LIMIT', 0, limit)
for _, id in ipairs(old) do
  local want = redis.call('HMGET', P .. 'want:' .. id, 'room', 'agent')
  if want[1] and current(want[1], want[2]) == id then
    redis.call('HDEL', P .. 'room:' .. want[1], want[2])
  end
  redis.call('DEL', P .. 'want:' .. id)
  redis.call('ZREM', P .. 'ended', id)
end
return {#old, forget_invitations(limit)}
