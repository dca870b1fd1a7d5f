-- forward-internal: what the route is looked for by (translate/names.py) changes, and Envoy looks for it between this
-- filter and the next, which finds here whether there was one.
local CLASS, HOST = "x-edge-class", "x-edge-host"
local NOWHERE = 473 -- translate/replies.py
local PORTS = {http = "80", https = "443", tls = "443"}

local function lead_to(visit, class, host)
  local fields = visit.handle:headers()
  fields:replace(CLASS, class)
  fields:replace(HOST, host)
  visit.handle:clearRouteCache()
end

P.action["forward-internal"] = function(visit, action)
  local url = visit:text(action.url)
  local scheme, host, port = url:lower():match("^(%a+)://([^/:@?#]+):?(%d*)/?$")
  local inner = visit.program.inner_class
  local leads = inner and (scheme == "http" or scheme == "https") and host:find("%.internal$")
  if not leads then
    if not action.halts then return false end
    P.refuse(visit, NOWHERE)
    return true
  end
  local fields = visit.handle:headers()
  visit.forwarding = P.map({{"class", fields:get(CLASS)}, {"host", fields:get(HOST)}, {"halts", action.halts}})
  visit:save()
  lead_to(visit, inner, scheme .. "+" .. host .. "+" .. (port ~= "" and port or PORTS[scheme]))
  return true
end

--- Whether the filter before this one has handed the visit to an endpoint that is there: then it is done here.
function P.forwarded(visit)
  local forwarding = visit.forwarding
  if not forwarding then return false end
  visit.forwarding = nil
  if visit.handle:streamInfo():routeName() ~= "" then
    visit.ended = "forwarded"
    visit:save()
    return true
  end
  local before = forwarding.values
  lead_to(visit, before.class, before.host)
  if before.halts then
    P.refuse(visit, NOWHERE)
    return true
  end
  return false
end
