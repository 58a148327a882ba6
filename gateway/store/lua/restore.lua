-- Put back wants (their number is ARGV[4]) and claims that are missing; an end that was lost, too. Of two copies
-- of a living want the one that was changed later counts, and the later ask; of two wants the later one: it came
-- after the other's end, and whoever knows that want as ended puts that back. A claim takes the place of an older
-- one: a failover brought that back from a time before it was released, or went further.
local function later(want, stored)
  local body = cjson.decode(stored[3])
  if tonumber(want.generation) ~= body.generation then
    return tonumber(want.generation) > body.generation
  end
  return tonumber(want.since) > body.since
end

local function forget(id, agent)
  redis.call('DEL', P .. 'want:' .. id)
  redis.call('ZREM', P .. 'living', id)
  redis.call('ZREM', P .. 'line:' .. agent, id)
end

-- Whether this want may live: none was made after it, and none ended after the last ask for it. An older one that
-- lives goes.
local function makes_way(want)
  local id = current(want.room, want.agent)
  if not id or not alive(id) then
    local ended = id and ended_at(id)
    return not ended or ended <= tonumber(want.asked)
  end
  if tonumber(redis.call('ZSCORE', P .. 'living', id)) >= tonumber(want.created) then
    return false
  end
  forget(id, want.agent)
  return true
end

-- A living want that nobody asked for after that end goes, too.
local function end_older(ended)
  local id = current(ended.room, ended.agent)
  if id and alive(id) and tonumber(row_of(id)[2]) < tonumber(ended.since) then
    forget(id, ended.agent)
  end
end

local i = 5
for _ = 1, tonumber(ARGV[4]) do
  local want = want_at(i)
  i = i + WANT
  local stored = redis.call('HMGET', P .. 'want:' .. want.id, 'alive', 'asked', 'body', 'metadata')
  local missing = false
  if stored[1] == '1' and want.alive ~= '1' then
    missing = tonumber(stored[2]) <= tonumber(want.asked)
  elseif stored[1] == '1' then
    missing = later(want, stored)
    if tonumber(stored[2]) > tonumber(want.asked) then
      want.asked, want.metadata = stored[2], stored[4]
    elseif not missing and tonumber(want.asked) > tonumber(stored[2]) then
      redis.call('HSET', P .. 'want:' .. want.id, 'asked', want.asked, 'metadata', want.metadata)
      look(want.room)
    end
  elseif not stored[1] then
    missing = want.alive ~= '1' or makes_way(want)
    if want.alive ~= '1' then
      end_older(want)
    end
  end
  if missing then
    put_want(want)
    look(want.room)
  end
end
while i < #ARGV do
  local job_id, room, seat, since, body = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  i = i + 5
  -- Its own older copy may have another seat.
  local holder = redis.call('HGET', P .. 'holders:' .. room, seat) or job_id
  local held = redis.call('HGET', P .. 'claims', holder)
  local told = tonumber(since)
  local stored = held and cjson.decode(held).since
  -- The same job's of the same time, and not the same: identity or close reason were lost.
  if not held or stored < told or (stored == told and holder == job_id and held ~= body) then
    if held then
      drop_claim(holder)
    end
    put_claim(job_id, room, seat, body)
    look(room)
  end
end
