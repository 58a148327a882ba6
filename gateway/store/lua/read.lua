-- A single reading command, behind the guard.
return redis.call(ARGV[4], P .. ARGV[5], unpack(ARGV, 6))
