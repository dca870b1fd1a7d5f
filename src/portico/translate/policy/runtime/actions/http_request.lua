-- http-request: the gate sends it, and tries again where its condition says so.
local ipairs = ipairs
local SAFE = {GET = true, OPTIONS = true}
local HOPS = "portico-http-request-hops" -- gate/errands.py

local function pairs_of(visit, given)
  local found = {}
  for i, pair in ipairs(given) do found[i] = P.list({visit:text(pair[1]), visit:text(pair[2])}) end
  return P.list(found)
end

local function headers_of(visit, given)
  local map = P.Map.new()
  for _, pair in ipairs(given) do P.Map.set(map, pair[1], visit:field(pair[2])) end
  return map
end

P.action["http-request"] = function(visit, action)
  local question = P.json.encode(P.gate.table({
    {"url", visit:text(action.url)}, {"method", action.method}, {"body", visit:text(action.body)},
    {"parameters", pairs_of(visit, action.parameters)}, {"headers", headers_of(visit, action.headers)},
    {"redirects", action.redirects}, {"seconds", action.seconds}, {"retry", action.retry},
    {"visitor", visit:get("conn.client_ip")}, {"inner", visit.program.inner_class or ""},
    {"hops", visit.phase ~= "response" and visit.handle:headers():get(HOPS) or ""},
  }))
  local answer = P.gate.ask(visit, "/errands", question, action.seconds * 1000 + 5000, SAFE[action.method])
  local left = {{"req", answer.req}, {"res", answer.res}, {"attempts", answer.attempts}}
  if answer.error ~= "" then
    left[4] = {"error", P.map({{"code", action.code}, {"message", answer.error}})}
  end
  visit:leave("http_request", left)
  if answer.error ~= "" and action.halts then return P.gate.page(visit, action.failed) end
  return false
end
