-- The rows of the wants of these ids.
local rows = {}
for i = 4, #ARGV do
  local row = row_of(ARGV[i])
  if row[1] then
    rows[#rows + 1] = row
  end
end
return rows
