-- Put notes into an inbox; "": the leader's.
local to = ARGV[4]
if to == '' then
  to = LEADER
end
if to ~= '' then
  for i = 5, #ARGV do
    push(to, ARGV[i])
  end
end
