-- Append lines whose ids are new, up to the limits, and replace the questionnaire when there is one. They live as
-- long as their session.
local key = KEYS[1] .. 'session:' .. ARGV[1]
local at, questionnaire, most, most_bytes = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('EXISTS', key) == 0 then
  return 0
end
local left = most - redis.call('LLEN', key .. ':said')
local bytes = tonumber(redis.call('HGET', key, 'bytes') or 0)
for i = 6, #ARGV, 2 do
  if left <= 0 or bytes + #ARGV[i + 1] > most_bytes then
    break
  end
  if redis.call('SADD', key .. ':lines', ARGV[i]) == 1 then
    redis.call('RPUSH', key .. ':said', ARGV[i + 1])
    left, bytes = left - 1, bytes + #ARGV[i + 1]
  end
end
redis.call('HSET', key, 'bytes', bytes)
redis.call('HSET', key, 'reported', at)
if questionnaire ~= '' then
  redis.call('HSET', key, 'questionnaire', questionnaire)
end
local ttl = redis.call('TTL', key)
redis.call('EXPIRE', key .. ':said', ttl)
redis.call('EXPIRE', key .. ':lines', ttl)
return 1
