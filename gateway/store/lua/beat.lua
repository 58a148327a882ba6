-- A heartbeat. Returns the time, the generation, whether it is settled and how old it is, the leader, its epoch,
-- and body and time of every replica.
local lease, leads, body, here = tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6], ARGV[7]
local expected, step = tonumber(ARGV[8]), tonumber(ARGV[9])

-- The server's clock was set. Whoever leads, or anybody where nobody does, says what the store's would show, and
-- leads anew: while it was wrong nobody seemed to lead, and whoever wrote had nobody to tell.
if expected and math.abs(NOW - expected) > step then
  local last = redis.call('HMGET', P .. 'lead', 'replica', 'until')
  if not last[1] or last[1] == '' or last[1] == ME or tonumber(last[2]) < math.min(expected, NOW) then
    SHIFT, NOW = SHIFT + expected - NOW, expected
    redis.call('SET', P .. 'shift', digits(SHIFT))
    redis.call('HDEL', P .. 'lead', 'replica')
    LEADER = ''
  end
end

local id, settled, run_id = generation()
if id == '' then
  -- Nobody leads, and until every replica has had the time to put back what it knows, nothing is granted.
  id, settled = run_id .. '-' .. digits(NOW), false
  redis.call('HSET', P .. 'generation', 'run_id', run_id, 'id', id, 'from', digits(NOW),
    'until', digits(NOW + lease))
  redis.call('HDEL', P .. 'lead', 'replica') -- its epoch stays: the next one is higher
  LEADER = ''
end

if leads and (LEADER == '' or LEADER == ME) then
  if LEADER == '' then
    -- Also higher than any from before a wipe, which took the record of it along.
    LEADER, LEAD_EPOCH = ME, digits(math.max(tonumber(LEAD_EPOCH) + 1, NOW))
  end
  redis.call('HSET', P .. 'lead', 'replica', ME, 'epoch', LEAD_EPOCH, 'from', digits(NOW),
    'until', digits(NOW + lease))
elseif not leads and LEADER == ME then
  redis.call('HDEL', P .. 'lead', 'replica')
  LEADER = ''
end

local changed = redis.call('HGET', P .. 'replicas', ME) ~= body
redis.call('HSET', P .. 'replicas', ME, body)
redis.call('HSET', P .. 'beats', ME, digits(NOW))
if changed then
  tell_leader(here)
end

local began = tonumber(redis.call('HGET', P .. 'generation', 'from'))
local pulse = {digits(NOW), id, settled and '1' or '', LEADER, LEAD_EPOCH, digits(NOW - began)}
local beats = redis.call('HGETALL', P .. 'beats')
for i = 1, #beats, 2 do
  local replica, at = beats[i], tonumber(beats[i + 1])
  if at > NOW then -- the server's clock was set back: its silence counts from now on
    at = NOW
    redis.call('HSET', P .. 'beats', replica, digits(NOW))
  end
  if at < NOW - MINUTE * 1000000 then
    redis.call('HDEL', P .. 'beats', replica)
    redis.call('HDEL', P .. 'replicas', replica)
  else
    pulse[#pulse + 1] = redis.call('HGET', P .. 'replicas', replica)
    pulse[#pulse + 1] = digits(at)
  end
end
return pulse
