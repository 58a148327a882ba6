-- The bodies of the invitations of these members.
local bodies = {}
for i = 4, #ARGV do
  bodies[#bodies + 1] = redis.call('HGET', P .. 'guests:' .. cjson.decode(ARGV[i])[1], ARGV[i]) or nil
end
return bodies
