-- The rows of a room's wants.
local rows = {}
for _, id in ipairs(redis.call('HVALS', P .. 'room:' .. ARGV[4])) do
  local row = row_of(id)
  if row[1] then
    rows[#rows + 1] = row
  end
end
return rows
