-- Mark a session as ended; the first time counts.
local key = KEYS[1] .. 'session:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then
  return 0
end
redis.call('HSETNX', key, 'ended', ARGV[2])
return 1
