-- Its row, when it was ended, what was reported, and the lines, when they are asked for.
local key = KEYS[1] .. 'session:' .. ARGV[1]
local row = redis.call('HMGET', key, 'body', 'ended', 'questionnaire', 'reported')
row[5] = ARGV[2] == 'lines' and redis.call('LRANGE', key .. ':said', 0, -1) or {}
return row
