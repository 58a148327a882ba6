-- A session's row, for so many seconds.
local key = KEYS[1] .. 'session:' .. ARGV[1]
redis.call('HSET', key, 'body', ARGV[2])
redis.call('EXPIRE', key, ARGV[3])
