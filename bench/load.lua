-- wrk's part of `bench webhook`: sends each signed webhook of the file given as its argument once, in order.
-- A line of the file: the Authorization header, a tab, the body.
local requests, sent = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local tab = line:find("\t", 1, true)
    local headers = {
      ["Authorization"] = line:sub(1, tab - 1),
      ["Content-Type"] = "application/webhook+json",
    }
    requests[#requests + 1] = wrk.format("POST", nil, headers, line:sub(tab + 1))
  end
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"p99_ms":%.3f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
