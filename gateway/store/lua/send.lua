-- Put notes into an inbox; "": the leader's.
local to = ARGV[3]
if to == '' then
  to = LEADER
end
if to ~= '' then
  for i = 4, #ARGV do
    push(to, ARGV[i])
  end
end
