-- Replace a claim. Returns 1: done; 0: it is gone; or the stored body, when it is not the expected one.
local job_id, room, was, body = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local stored = redis.call('HGET', P .. 'claims', job_id)
if not stored then
  return 0
end
if stored ~= was then
  return stored
end
redis.call('HSET', P .. 'claims', job_id, body)
look(room)
return 1
