-- A replica ends.
local replica = ARGV[4]
redis.call('HDEL', P .. 'replicas', replica)
redis.call('HDEL', P .. 'beats', replica)
redis.call('DEL', P .. 'inbox:' .. replica)
if LEADER == replica then
  redis.call('HDEL', P .. 'lead', 'replica')
end
