-- Insert a claim. Returns the body of the claim that holds now, or nothing when the want forbids it.
if not SETTLED then
  return UNSETTLED
end
local room, agent, want_id, wanted, sid = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local job_id, body = ARGV[9], ARGV[10]
local want = redis.call('HMGET', P .. 'want:' .. want_id, 'alive', 'generation', 'sid')
if want[1] ~= '1' or want[2] ~= wanted or (want[3] ~= '' and want[3] ~= sid) then
  return false
end
local holder = redis.call('HGET', P .. 'holders:' .. room, agent)
if holder then
  return redis.call('HGET', P .. 'claims', holder)
end
if want[3] == '' then
  redis.call('HSET', P .. 'want:' .. want_id, 'sid', sid)
end
put_claim(job_id, room, agent, body)
look(room)
return body
