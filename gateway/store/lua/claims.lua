-- The bodies of a room's claims.
local holders = redis.call('HVALS', P .. 'holders:' .. ARGV[4])
if #holders == 0 then
  return holders
end
return redis.call('HMGET', P .. 'claims', unpack(holders))
