-- Put back wants (their number is ARGV[4]) and claims that are missing; an end that was lost, too.
local i = 5
for _ = 1, tonumber(ARGV[4]) do
  local want = want_at(i)
  i = i + WANT
  local stored = redis.call('HMGET', P .. 'want:' .. want.id, 'alive', 'asked')
  local missing
  if stored[1] then
    missing = want.alive ~= '1' and stored[1] == '1' and tonumber(stored[2]) <= tonumber(want.asked)
  else
    local id = current(want.room, want.agent)
    missing = not (id and alive(id))
  end
  if missing then
    put_want(want)
    look(want.room)
  end
end
while i < #ARGV do
  local job_id, room, agent, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  i = i + 4
  if redis.call('HEXISTS', P .. 'claims', job_id) == 0
    and redis.call('HEXISTS', P .. 'holders:' .. room, agent) == 0 then
    put_claim(job_id, room, agent, body)
    look(room)
  end
end
