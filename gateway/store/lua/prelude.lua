-- What every script begins with: time, the leader, and how rows are put. ARGV[1] is the replica whose step it
-- is, ARGV[2] the epoch under which it leads, "" for a step that follows from no observation, ARGV[3] the
-- generation under which it has beaten, "" before its first heartbeat.
-- Bodies are opaque: cjson would lose the last digits of a float. Only strings are read out of them.
local P = KEYS[1]
local ME, EPOCH, GENERATION = ARGV[1], ARGV[2], ARGV[3]
local TIME = redis.call('TIME')
-- The store's clock goes on when the server's is set: this is by how much they differ since then.
local SHIFT = tonumber(redis.call('GET', P .. 'shift') or '0')
local NOW = TIME[1] * 1000000 + TIME[2] + SHIFT -- microseconds: exact in a double until the year 2255
local DAY, MINUTE, INBOX = 86400, 60, 10000

local function digits(number)
  return string.format('%.0f', number)
end

local function lead()
  local row = redis.call('HMGET', P .. 'lead', 'replica', 'epoch', 'from', 'until')
  local epoch = row[2] or '0'
  if not row[1] or row[1] == '' then
    return '', epoch
  end
  -- Before `from`: the server's clock was set back, and nobody knows what the lease is worth.
  if NOW < tonumber(row[3]) or NOW > tonumber(row[4]) then
    return '', epoch
  end
  return row[1], epoch
end

local LEADER, LEAD_EPOCH = lead()

local function push(to, note)
  local inbox = P .. 'inbox:' .. to
  if redis.call('RPUSH', inbox, note) > INBOX then
    redis.call('LTRIM', inbox, -INBOX, -1)
  end
  redis.call('EXPIRE', inbox, MINUTE)
end

-- In the same step as the write that it tells of: no kill can part the two.
local function tell_leader(note)
  if EPOCH == '' and LEADER ~= '' and LEADER ~= ME then
    push(LEADER, note)
  end
end

local function look(room)
  tell_leader('{"type":"look","room":' .. cjson.encode(room) .. '}')
end

-- A want in ARGV, from the i-th on.
local function want_at(i)
  return {
    id = ARGV[i], room = ARGV[i + 1], agent = ARGV[i + 2], alive = ARGV[i + 3], generation = ARGV[i + 4],
    created = ARGV[i + 5], since = ARGV[i + 6], waiting = ARGV[i + 7], asked = ARGV[i + 8],
    sid = ARGV[i + 9], metadata = ARGV[i + 10], body = ARGV[i + 11],
  }
end
local WANT = 12

local function row_of(id)
  return redis.call('HMGET', P .. 'want:' .. id, 'body', 'asked', 'sid', 'metadata', 'alive')
end

local function alive(id)
  return redis.call('HGET', P .. 'want:' .. id, 'alive') == '1'
end

-- The id of the want of (room, agent) that lives, or else of the last one that ended.
local function current(room, agent)
  return redis.call('HGET', P .. 'room:' .. room, agent)
end

local function ended_at(id)
  local score = redis.call('ZSCORE', P .. 'ended', id)
  return score and tonumber(score)
end

local function is_current(want)
  local last = current(want.room, want.agent)
  if want.alive == '1' or not last or not row_of(last)[1] then
    return true
  end
  local ended = ended_at(last)
  return ended and ended < tonumber(want.since)
end

local function expire_room(room)
  for _, id in ipairs(redis.call('HVALS', P .. 'room:' .. room)) do
    if alive(id) then
      return
    end
  end
  redis.call('EXPIRE', P .. 'room:' .. room, DAY)
end

local function put_want(want)
  local key = P .. 'want:' .. want.id
  local is_new = redis.call('HSET', key, 'room', want.room, 'agent', want.agent, 'alive', want.alive,
    'generation', want.generation, 'asked', want.asked, 'sid', want.sid, 'metadata', want.metadata,
    'body', want.body) > 0
  if is_new and is_current(want) then
    redis.call('HSET', P .. 'room:' .. want.room, want.agent, want.id)
  end
  if want.waiting == '' then
    redis.call('ZREM', P .. 'line:' .. want.agent, want.id)
  else
    redis.call('ZADD', P .. 'line:' .. want.agent, want.waiting, want.id)
  end
  if want.alive == '1' then
    if is_new then
      redis.call('ZADD', P .. 'living', want.created, want.id)
      redis.call('PERSIST', P .. 'room:' .. want.room)
    end
    return
  end
  -- The leader forgets what ended in time; should there be none for a day, the store does.
  redis.call('ZREM', P .. 'living', want.id)
  redis.call('ZADD', P .. 'ended', want.since, want.id)
  redis.call('ZREMRANGEBYSCORE', P .. 'ended', '-inf', digits(NOW / 1000000 - DAY))
  redis.call('EXPIRE', key, DAY)
  expire_room(want.room)
end

-- `seat`: the agent's name, or more than that for a claim that retires (`Claim.seat`).
local function put_claim(job_id, room, seat, body)
  redis.call('HSET', P .. 'claims', job_id, body)
  redis.call('HSET', P .. 'holders:' .. room, seat, job_id)
end

local function drop_claim(job_id)
  local claim = cjson.decode(redis.call('HGET', P .. 'claims', job_id))
  local holders, retiring = P .. 'holders:' .. claim.room, claim.agent .. '\n' .. job_id
  if redis.call('HDEL', holders, retiring) == 0 then
    redis.call('HDEL', holders, claim.agent)
  end
  redis.call('HDEL', P .. 'claims', job_id)
  return claim.room
end

-- A member of `invitations` is a JSON array that begins with the room.
local function forget_invitations(limit)
  local now = string.format('%.6f', NOW / 1000000)
  local old = redis.call('ZRANGEBYSCORE', P .. 'invitations', '-inf', '(' .. now, 'LIMIT', 0, limit)
  for _, member in ipairs(old) do
    redis.call('HDEL', P .. 'guests:' .. cjson.decode(member)[1], member)
    redis.call('ZREM', P .. 'invitations', member)
  end
  return #old
end

-- The store's generation, "" when a new one has to begin: another process than the one on record, or no record,
-- may have lost what was written (a restart, a failover, FLUSHALL). And whether it is settled.
-- INFO may be called in scripts in Redis and Valkey, and that is needed: read on its own it could speak of
-- another server than the one that then runs the step. It costs the server about 10 microseconds.
local function generation()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if not run_id then
    error('INFO does not tell the run_id, by which a restart is noticed')
  end
  local row = redis.call('HMGET', P .. 'generation', 'run_id', 'id', 'from', 'until')
  if row[1] ~= run_id then
    return '', false, run_id
  end
  return row[2], NOW < tonumber(row[3]) or NOW >= tonumber(row[4]), run_id
end
