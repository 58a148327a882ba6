-- Replace a want. Returns 1: done; 0: no; or the stored row, when its body or SID is not the expected one.
local was_body, was_sid, was_asked, was_metadata = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local want = want_at(8)
local row = row_of(want.id)
if not row[1] then
  return 0
end
if row[1] ~= was_body or row[3] ~= was_sid then
  return row
end
local later = tonumber(row[2]) > tonumber(was_asked)
if later and want.alive ~= '1' then
  return 0
end
if later or row[4] ~= was_metadata then
  want.metadata = row[4]
end
if tonumber(row[2]) > tonumber(want.asked) then
  want.asked = row[2]
end
put_want(want)
look(want.room)
return 1
