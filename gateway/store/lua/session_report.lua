-- Append lines whose ids are new, up to a limit, and replace the questionnaire when there is one. They live as
-- long as their session.
local key = KEYS[1] .. 'session:' .. ARGV[1]
local at, questionnaire, most = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', key) == 0 then
  return 0
end
local left = most - redis.call('LLEN', key .. ':said')
for i = 5, #ARGV, 2 do
  if left > 0 and redis.call('SADD', key .. ':lines', ARGV[i]) == 1 then
    redis.call('RPUSH', key .. ':said', ARGV[i + 1])
    left = left - 1
  end
end
redis.call('HSET', key, 'reported', at)
if questionnaire ~= '' then
  redis.call('HSET', key, 'questionnaire', questionnaire)
end
local ttl = redis.call('TTL', key)
redis.call('EXPIRE', key .. ':said', ttl)
redis.call('EXPIRE', key .. ':lines', ttl)
return 1
