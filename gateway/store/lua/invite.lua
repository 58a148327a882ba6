-- Put an invitation; it goes by itself a minute after it expired.
local room, member, expires_at, body, guests = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local key = P .. 'guests:' .. room
redis.call('HSET', key, member, body)
redis.call('ZADD', P .. 'invitations', expires_at, member)
local gone = math.max(redis.call('EXPIRETIME', key), math.ceil(tonumber(expires_at) - SHIFT / 1000000) + MINUTE)
redis.call('EXPIREAT', key, digits(gone))
forget_invitations(10)
tell_leader(guests)
