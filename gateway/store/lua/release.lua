-- Remove a job's claim. Returns its body, or nothing.
local body = redis.call('HGET', P .. 'claims', ARGV[4])
if not body then
  return false
end
look(drop_claim(ARGV[4]))
return body
