-- Renew the living want of (room, agent), or put `fresh`. Returns the renewed row, or nothing.
-- While the store is not settled, one that lives may be about to be put back.
local fresh = want_at(4)
local id = current(fresh.room, fresh.agent)
if not id or not alive(id) then
  if not SETTLED then
    return UNSETTLED
  end
  put_want(fresh)
  look(fresh.room)
  return false
end
local row = row_of(id)
if tonumber(fresh.asked) > tonumber(row[2]) then
  row[2] = fresh.asked
end
if fresh.metadata ~= '' then
  row[4] = fresh.metadata
end
redis.call('HSET', P .. 'want:' .. id, 'asked', row[2], 'metadata', row[4])
look(fresh.room)
return row
