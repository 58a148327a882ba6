-- Replace a claim. Returns 1: done; 0: it is gone; or the stored body, when it is not the expected one.
local job_id, room, seat_was, seat, was, body = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local stored = redis.call('HGET', P .. 'claims', job_id)
if not stored then
  return 0
end
if stored ~= was then
  return stored
end
if seat ~= seat_was then
  redis.call('HDEL', P .. 'holders:' .. room, seat_was)
end
put_claim(job_id, room, seat, body)
look(room)
return 1
