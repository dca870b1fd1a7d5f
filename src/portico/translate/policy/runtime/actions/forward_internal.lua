-- forward-internal: what the route is looked for by (translate/names.py) changes. Envoy looks for it behind this filter:
-- the next one finds out whether there was one, where the policy wants to go on without.
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
  visit:note("forwarded", true)
  local to = scheme .. "+" .. host .. "+" .. (port ~= "" and port or PORTS[scheme])
  if action.halts then
    -- Whether that endpoint is there is the router's to find out.
    visit.ended = "forwarded"
    if visit.program.responds or not visit.program.last then visit:save() end
    P.hide_own_sessions(visit)
    P.drop_facts(visit)
    lead_to(visit, inner, to)
    return true
  end
  local fields = visit.handle:headers()
  visit.forwarding = P.map({{"class", fields:get(CLASS)}, {"host", fields:get(HOST)}})
  visit:save()
  lead_to(visit, inner, to)
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
    P.hide_own_sessions(visit)
    P.drop_facts(visit)
    return true
  end
  visit:note("forwarded", false)
  lead_to(visit, forwarding.values.class, forwarding.values.host)
  return false
end
