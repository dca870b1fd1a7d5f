-- Variables that Lua cannot ask Envoy for: other filters have written them into private headers (translate/policy/facts.py).
local ipairs, pairs, tonumber, type, floor = ipairs, pairs, tonumber, type, math.floor
local var = P.var
local HEADER, NO_DATABASE = "x-edge-fact-", "?"

P.facts = {} -- their names: the response's handle has none of the headers, so what its rules read is kept

-- `otherwise` is the value where nobody has written one, or a function that knows it.
local function fact(name, header, read, otherwise)
  P.facts[name] = true
  var[name] = function(visit)
    local text = visit.handle:headers():get(HEADER .. header)
    if text == nil or text == "" or text == "-" then
      if type(otherwise) == "function" then return otherwise(visit) end
      return otherwise
    end
    if text == NO_DATABASE then return nil end
    return read(text)
  end
end

local function as_it_is(text) return text end

local function list_of(text)
  local list = {}
  for item in text:gmatch("[^,%s]+") do list[#list + 1] = item end
  return P.list(list)
end

-- An empty list where there is a certificate without any.
local function none_of(presented)
  return function(visit)
    local ssl = visit.handle:streamInfo():downstreamSslConnection()
    return ssl and presented(ssl) and P.list({}) or nil
  end
end

local of_visitor = none_of(function(ssl) return ssl:peerCertificatePresented() end)
local of_server = none_of(function() return true end)

-- When the request began, and how long after the connection, in microseconds. Two clocks have measured them, so the
-- difference is told in milliseconds.
local function begin_of(text)
  local seconds, micros, later = text:match("^(%d+)%.(%d+) (%d+)$")
  if not seconds then return nil end
  local began = floor((tonumber(micros) - tonumber(later)) / 1000 + 0.5)
  return P.timestamp(tonumber(seconds) + floor(began / 1000), began % 1000 * 1000000)
end

fact("conn.ts.start", "conn-ts-start", begin_of)
fact("conn.tls.ja4_fingerprint", "conn-tls-ja4-fingerprint", as_it_is)
fact("conn.tls.client.san.ip_addresses", "conn-tls-client-san-ip-addresses", list_of, of_visitor)
fact("conn.tls.server.san.ip_addresses", "conn-tls-server-san-ip-addresses", list_of, of_server)

-- What the databases do not have of an address is empty, not a failure: most are in no list of Tor's.
for name, field in pairs({city = "city", country_code = "country", subdivision = "region"}) do
  fact("conn.geo." .. name, field, as_it_is, "")
  fact("conn.client_ip.geo.location." .. name, field, as_it_is, "")
end
fact("conn.client_ip.as.number", "asn", tonumber, 0)
fact("conn.client_ip.as.organization", "asn-org", as_it_is, "")
fact("conn.client_ip.is_tor_node", "anon-tor", function(text) return text == "true" end, false)

--- Takes the facts out of a request that goes on to where they are nobody's business.
function P.drop_facts(visit)
  local names = visit.program.facts
  if not names then return end
  local fields = visit.handle:headers()
  for _, name in ipairs(names) do fields:remove(name) end
end
