-- The variables of expressions, read from what Envoy knows of the visit (policy/variables.py says what each means).
local floor, tostring, tonumber, pairs, ipairs = math.floor, tostring, tonumber, pairs, ipairs
local var = P.var

local function split_address(text)
  local host, port = text:match("^%[?(.-)%]?:(%d+)$")
  return host or text, tonumber(port) or 0
end

local function stream(visit) return visit.handle:streamInfo() end

local function of_address(method, part)
  return function(visit)
    local info = stream(visit)
    return (select(part, split_address(info[method](info))))
  end
end

var["conn.client_ip"] = of_address("downstreamDirectRemoteAddress", 1)
var["conn.client_port"] = of_address("downstreamDirectRemoteAddress", 2)
var["conn.server_ip"] = of_address("downstreamLocalAddress", 1)
var["conn.server_port"] = of_address("downstreamLocalAddress", 2)
var["conn.tls.sni"] = function(visit) return stream(visit):requestedServerName() end

local VERSIONS = {["TLSv1.2"] = "1.2", ["TLSv1.3"] = "1.3"}

-- A fact of the visitor's TLS; nothing where there is none.
local function of_tls(read)
  return function(visit)
    local ssl = stream(visit):downstreamSslConnection()
    return ssl and read(ssl, visit)
  end
end

-- A fact of the visitor's certificate; nothing where he has shown none.
local function of_certificate(read)
  return of_tls(function(ssl) return ssl:peerCertificatePresented() and read(ssl) or nil end)
end

var["conn.tls.version"] = of_tls(function(ssl) return VERSIONS[ssl:tlsVersion()] or ssl:tlsVersion() end)
var["conn.tls.cipher_suite"] = of_tls(function(ssl) return ssl:ciphersuiteString() end)
var["conn.tls.negotiated_alpn"] = of_tls(function(_, visit)
  return stream(visit):protocol() == "HTTP/2" and "h2" or "http/1.1"
end)

local function list_of(items)
  local list = {}
  for i, item in ipairs(items or {}) do list[i] = item end
  return P.list(list)
end

local client = "conn.tls.client."
var[client .. "serial_number"] = of_certificate(function(ssl) return ssl:serialNumberPeerCertificate() end)
var[client .. "pem"] = of_certificate(function(ssl)
  return P.percent.decode(ssl:urlEncodedPemEncodedPeerCertificate())
end)
var[client .. "san.dns_names"] = of_certificate(function(ssl) return list_of(ssl:dnsSansPeerCertificate()) end)
var[client .. "san.uris"] = of_certificate(function(ssl) return list_of(ssl:uriSanPeerCertificate()) end)
var[client .. "validity.not_before"] = of_certificate(function(ssl) return P.timestamp(ssl:validFromPeerCertificate()) end)
var[client .. "validity.not_after"] = of_certificate(function(ssl) return P.timestamp(ssl:expirationPeerCertificate()) end)

local NAMES = {
  common_name = "CN", country = "C", locality = "L", organization = "O", organizational_unit = "OU",
  province = "ST", street_address = "STREET", postal_code = "postalCode",
}

-- The values of an attribute of a distinguished name in the form of RFC 2253.
local function parts_of(name, attribute)
  local found = {}
  -- What is escaped is put out of the way of the separators.
  local plain = name:gsub("\\(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  plain = plain:gsub("\\(.)", function(character) return ("\1%03d"):format(character:byte()) end)
  for key, value in plain:gmatch("([%w.]+)=([^,+]*)") do
    if key == attribute then
      found[#found + 1] = value:gsub("\1(%d%d%d)", function(code) return string.char(tonumber(code)) end)
    end
  end
  return found
end

-- A distinguished name and its parts.
local function of_name(variable, of, method)
  var[variable] = of(function(ssl) return ssl[method](ssl) end)
  for field, attribute in pairs(NAMES) do
    var[variable .. "." .. field] = of(function(ssl)
      local values = parts_of(ssl[method](ssl), attribute)
      if field == "common_name" then return values[1] or "" end
      return P.list(values)
    end)
  end
end

of_name(client .. "subject", of_certificate, "subjectPeerCertificate")
of_name(client .. "issuer", of_certificate, "issuerPeerCertificate")

local server = "conn.tls.server."
of_name(server .. "subject", of_tls, "subjectLocalCertificate")
var[server .. "san.dns_names"] = of_tls(function(ssl) return list_of(ssl:dnsSansLocalCertificate()) end)
var[server .. "san.uris"] = of_tls(function(ssl) return list_of(ssl:uriSanLocalCertificate()) end)

for field in pairs({addr = 1, host = 1, port = 1, protocol = 1, url = 1}) do
  var["endpoint." .. field] = function(visit) return visit.program.endpoint[field] end
end

local function now(visit)
  local milliseconds = visit.handle:timestamp()
  return P.timestamp(floor(milliseconds / 1000), milliseconds % 1000 * 1000000)
end

var["time.now"] = function(visit) return P.fn["string"](now(visit)) end
var["req.ts.header_received"] = now

-- The fields of a message by lower-case name, without Envoy's pseudo fields and the edge's own.
local function fields_of(handle)
  local map = P.Map.new()
  for name, value in pairs(handle:headers()) do
    if name:sub(1, 1) ~= ":" and name:sub(1, 7) ~= "x-edge-" then P.add_to_list(map, name, value) end
  end
  return map
end

var["req.headers"] = function(visit)
  local map = fields_of(visit.handle)
  P.Map.set(map, "host", P.list({visit.handle:headers():get(":authority")}))
  return map
end
var["res.headers"] = function(visit) return fields_of(visit.handle) end

-- What requests and responses have in common.
for _, of in ipairs({"req", "res"}) do
  local function values(visit, name) return P.Map.get(visit:get(of .. ".headers"), name) or P.list({}) end
  local function first(visit, name) return values(visit, name)[1] or "" end
  var[of .. ".content_type"] = function(visit) return (P.media_type(first(visit, "content-type"))) end
  var[of .. ".content_type.raw"] = function(visit) return first(visit, "content-type") end
  var[of .. ".content_type.parameters"] = function(visit)
    local _, parameters = P.media_type(first(visit, "content-type"))
    return parameters
  end
  var[of .. ".content_encoding"] = function(visit) return P.items(values(visit, "content-encoding")) end
  var[of .. ".location"] = function(visit) return first(visit, "location") end
  var[of .. ".trailers"] = function() return P.Map.new() end
  var[of .. ".content_length"] = function(visit)
    local written = first(visit, "content-length")
    return #written < 16 and written:find("^%d+$") and tonumber(written) or nil
  end
end
var["req.cookies"] = function(visit) return P.cookies(P.Map.get(visit:get("req.headers"), "cookie") or {}) end
var["res.cookies"] = function(visit) return P.set_cookies(P.Map.get(visit:get("res.headers"), "set-cookie") or {}) end
var["res.status_code"] = function(visit) return tonumber(visit.handle:headers():get(":status")) end

-- Straight from the fields, without the map of all of them.
local function of_field(name, otherwise)
  return function(visit) return visit.handle:headers():get(name) or otherwise end
end
var["req.method"] = of_field(":method")
var["req.host"] = of_field(":authority")
var["req.user_agent"] = of_field("user-agent", "")
var["req.url.scheme"] = of_field(":scheme")
var["req.url.uri"] = of_field(":path")

local PROTOCOLS = {["HTTP/2"] = "HTTP/2.0", ["HTTP/3"] = "HTTP/3.0"}
var["req.version"] = function(visit)
  local protocol = stream(visit):protocol()
  return PROTOCOLS[protocol] or protocol
end

var["req.url.raw_path"] = function(visit) return (visit:get("req.url.uri"):match("^[^?]*")) end
var["req.url.path"] = function(visit)
  local raw = visit:get("req.url.raw_path")
  return raw:find("%", 1, true) and P.percent.decode(raw) or raw
end
var["req.url.query"] = function(visit) return visit:get("req.url.uri"):match("%?(.*)$") or "" end
var["req.url.query_params"] = function(visit) return P.url.parameters(visit:get("req.url.query")) end

-- The rest of the URL, taken apart as a whole.
local function of_url(name)
  return function(visit)
    local fields = visit.handle:headers()
    local values = P.url.values(fields:get(":scheme") .. "://" .. fields:get(":authority") .. fields:get(":path"))
    if values == nil then P.fail("the request's URL cannot be read") end
    return values[name]
  end
end
for _, name in ipairs({"req.url", "req.url.raw", "req.url.authority", "req.url.host", "req.url.port", "req.url.user_password"}) do
  var[name] = of_url(name)
end
