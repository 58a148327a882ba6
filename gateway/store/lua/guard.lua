-- What stands between a step and rows that are not what the replica takes them for.
local NOW_IN, SETTLED = generation()
if GENERATION ~= '' and GENERATION ~= NOW_IN then
  return redis.error_reply('RENEWED it may have lost what was written: a heartbeat must come first')
end
if EPOCH ~= '' and (LEADER == '' or LEAD_EPOCH ~= EPOCH) then
  return redis.error_reply('LEASELOST epoch ' .. EPOCH .. ' does not lead any more')
end
local UNSETTLED = redis.error_reply('UNSETTLED it may have lost what was written: others still put it back')
