-- The functions that ngrok's language has beside CEL's own (policy/functions/*.py computes the same for explanations).
local fn = P.fn
local find = string.find

-- The value, or the failure that there is none.
local function known(value, reason)
  if value == nil then P.fail(reason) end
  return value
end

-- base64, Basic credentials, JSON

fn["base64.decode"] = function(text)
  return P.bytes(known(P.base64.decode(text), "this is no base64"))
end

fn["base64.encode"] = function(bytes)
  return P.base64.encode(bytes.bytes)
end

fn["decodeBase64"] = function(text)
  local decoded = known(P.base64.decode(text), "this is no base64")
  if not P.utf8.valid(decoded) then P.fail("this is no base64 of UTF-8") end
  return decoded
end

fn["encodeBase64"] = P.base64.encode

-- RFC 7617.
fn["basic_auth.encode"] = function(username, password)
  return "Basic " .. P.base64.encode(username .. ":" .. password)
end

fn["json.decode"] = function(text)
  return known(P.json.decode(text), "this is no JSON")
end

fn["decodeJson"] = fn["json.decode"]
fn["json.encode"] = P.json.encode
fn["encodeJson"] = P.json.encode

fn["isJson"] = function(text)
  return P.json.decode(text) ~= nil
end

-- Query strings and URLs

-- Of a name that comes twice the first value.
fn["queryString.decode"] = function(text)
  local map = P.Map.new()
  for _, pair in ipairs(P.percent.pairs(text)) do
    if not P.Map.has(map, pair[1]) then P.Map.set(map, pair[1], pair[2]) end
  end
  return map
end

local function query_text(value)
  return type(value) == "string" and value or P.json.encode(value)
end

-- Sorted by name, so that equal maps give equal texts.
fn["queryString.encode"] = function(map)
  local parts = {}
  for name, value in P.Map.each(map) do
    parts[#parts + 1] = { rank = query_text(name), value = query_text(value) }
  end
  parts = P.sorted(parts)
  for at, part in ipairs(parts) do
    parts[at] = P.percent.form(part.rank) .. "=" .. P.percent.form(part.value)
  end
  return table.concat(parts, "&")
end

fn["decodeQueryString"] = fn["queryString.decode"]
fn["encodeQueryString"] = fn["queryString.encode"]

fn["isQueryString"] = function(text)
  for part in (text .. "&"):gmatch("([^&]*)&") do
    if not find(part, "^[^=]+=") or find(part, "%s") then return false end
  end
  return true
end

fn["url.escape"] = P.percent.encode
fn["escapeUrl"] = P.percent.encode
fn["url.unescape"] = P.percent.decode
fn["unescapeUrl"] = P.percent.decode

-- The parts of a URL, each only where it is there; nil for no URL.
local function url_parts(text)
  local parts = P.url.split(text)
  local user, host, port
  if parts then user, host, port = P.url.authority(parts.netloc) end
  if not user then return nil end
  local map = P.Map.new()
  local shown = host .. (port and ":" .. port or "")
  for _, part in ipairs({
    { "scheme", parts.scheme }, { "host", shown }, { "path", parts.path }, { "raw_query", parts.query },
    { "fragment", parts.fragment }, { "user", user },
  }) do
    if part[2] ~= "" then P.Map.set(map, part[1], part[2]) end
  end
  return map
end

fn["url.parse"] = function(text)
  return known(url_parts(text), "this is no URL")
end

fn["parseUrl"] = fn["url.parse"]

fn["isURL"] = function(text)
  local parts = url_parts(text)
  return parts ~= nil and P.Map.has(parts, "scheme") and P.Map.has(parts, "host")
end

-- Checksums and hashes, as hex or base64

for _, name in ipairs({ "crc32", "crc64", "xxhash64", "md5", "sha1", "sha256", "sha512" }) do
  local digest = P.hash[name]
  local function written(text, form)
    if form == nil or form == "hex" then return P.hex.encode(digest(text)) end
    if form == "base64" then return P.base64.encode(digest(text)) end
    P.fail("the format of a hash is hex or base64")
  end
  fn["hash." .. name], fn[name] = written, written
end

-- Random numbers. Each worker of Envoy has a LuaJIT of its own, which begins with the same numbers unless it is seeded.

--- So many random bytes of the system.
function P.random_bytes(count)
  local source = assert(io.open("/dev/urandom", "rb"))
  local bytes = source:read(count)
  source:close()
  return bytes
end

local seed = 0
for _, value in ipairs({ P.random_bytes(6):byte(1, 6) }) do
  seed = seed * 256 + value
end
math.randomseed(seed)

fn["rand.double"] = function()
  return math.random()
end

fn["rand.int"] = function(_, low, high)
  low, high = low or 0, high or 1
  if low < 0 or low > high then P.fail("rand.int takes two numbers from 0, the smaller one first") end
  return low + math.floor(math.random() * (high - low + 1))
end

-- Addresses

fn["inCidrRange"] = P.in_network

fn["inCidrRanges"] = function(ip, cidrs)
  for at = 1, cidrs.n do
    if P.in_network(ip, cidrs[at]) then return true end
  end
  return false
end

-- RFC 1918.
fn["isPrivateIp"] = function(ip)
  return P.in_network(ip, "10.0.0.0/8") or P.in_network(ip, "172.16.0.0/12") or P.in_network(ip, "192.168.0.0/16")
end

-- Headers, cookies and parameters of the visit

local function map_of(visit, name)
  local map = visit:get(name)
  if not P.is_map(map) then P.fail(name .. " is not known here") end
  return map
end

local function values_of(variable, key)
  return function(visit, name)
    return P.Map.get(map_of(visit, variable), key(name)) or P.List.new({}, 0)
  end
end

local function has(variable, key)
  return function(visit, name)
    return P.Map.has(map_of(visit, variable), key(name))
  end
end

local function first_of(variable)
  return function(visit, name)
    local found = P.Map.get(map_of(visit, variable), name)
    if not found or found.n == 0 then P.fail("there is no such cookie") end
    return found[1]
  end
end

local function same(name)
  return name
end

for side, message in pairs({ Req = "req", Res = "res" }) do
  fn["get" .. side .. "Header"] = values_of(message .. ".headers", string.lower)
  fn["has" .. side .. "Header"] = has(message .. ".headers", string.lower)
  fn["get" .. side .. "Cookie"] = first_of(message .. ".cookies")
  fn["has" .. side .. "Cookie"] = has(message .. ".cookies", same)
end
fn["getQueryParam"] = values_of("req.url.query_params", same)
fn["hasQueryParam"] = has("req.url.query_params", same)

-- Values of secrets stand in the program: who calls this asks for one that is not there.
fn["secrets.get"] = function()
  P.fail("there is no such secret")
end
