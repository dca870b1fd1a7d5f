-- URLs (RFC 3986) and what messages say in their fields: cookies, media types. What is no URL is nil.
local find, match, sub, concat, lower = string.find, string.match, string.sub, table.concat, string.lower

local url = {}
P.url = url

local PORTS = { http = 80, https = 443, tls = 443 }

local function without_controls(text)
  return (text:gsub("^[%z\1-\32]+", ""):gsub("[\t\r\n]", ""))
end

-- Whether brackets are there in pairs and have an IPv6 address within (RFC 3986 3.2.2).
local function brackets_fit(netloc)
  local opens, closes = find(netloc, "[", 1, true), find(netloc, "]", 1, true)
  if not opens and not closes then return true end
  local inside = opens and closes and match(netloc, "^([^%]]*)", opens + 1)
  if not inside then return false end
  if find(inside, "^v") then return find(inside, "^v%x+%..+$") ~= nil end
  return find(inside, ":", 1, true) ~= nil and P.address(inside) ~= nil
end

--- Scheme (lower case), netloc, path, query and fragment of an absolute or relative reference; each may be empty.
function url.split(text)
  local rest, parts = without_controls(text), { scheme = "", netloc = "", query = "", fragment = "" }
  local scheme, behind = match(rest, "^(%a[%w+.-]*):(.*)$")
  if scheme then parts.scheme, rest = lower(scheme), behind end
  if sub(rest, 1, 2) == "//" then
    parts.netloc, rest = match(rest, "^//([^/?#]*)(.*)$")
    if not brackets_fit(parts.netloc) then return nil end
  end
  local before, fragment = match(rest, "^([^#]*)#(.*)$")
  if before then rest, parts.fragment = before, fragment end
  local path, query = match(rest, "^([^?]*)%?(.*)$")
  if path then rest, parts.query = path, query end
  parts.path = rest
  return parts
end

-- `[::1]:80` as host and the text of the port.
local function host_and_port(shown)
  local inside, behind = match(shown, "^[^%[]*%[([^%]]*)%]?(.*)$")
  if inside then return inside, match(behind, ":(.*)$") or "" end
  local host, port = match(shown, "^([^:]*):?(.*)$")
  return host, port
end

--- User (`name:password`), host (lower case, without brackets) and port (a number or nil) of a netloc; nil for a wrong port.
function url.authority(netloc)
  local user, shown = match(netloc, "^(.*)@(.-)$")
  local host, port = host_and_port(shown or netloc)
  if port ~= "" and not (find(port, "^%d+$") and tonumber(port) <= 65535) then return nil end
  return user or "", lower(host), tonumber(port)
end

-- RFC 3986 5.3; schemes of ours always have a netloc.
local function unsplit(parts)
  local path = parts.path
  if parts.netloc ~= "" and path ~= "" and sub(path, 1, 1) ~= "/" then path = "/" .. path end
  return (parts.scheme ~= "" and parts.scheme .. ":" or "") .. (parts.netloc ~= "" and "//" .. parts.netloc or "") .. path
    .. (parts.query ~= "" and "?" .. parts.query or "") .. (parts.fragment ~= "" and "#" .. parts.fragment or "")
end

-- `path` seen from `base`, an absolute path or nothing (RFC 3986 5.2.3), as segments. As urllib, which explanations join
-- with, a relative path leaves no empty segments between others.
local function segments(base, path)
  local found, absolute = {}, sub(path, 1, 1) == "/"
  local merged = absolute and path or (match(base, "^.*/") or "/") .. path
  for segment, at in (merged .. "/"):gmatch("([^/]*)/()") do
    if absolute or segment ~= "" or at == 2 or at > #merged + 1 then found[#found + 1] = segment end
  end
  return found
end

-- RFC 3986 5.2.4.
local function without_dots(parts)
  local kept, last = {}, parts[#parts]
  for _, segment in ipairs(parts) do
    if segment == ".." then
      kept[#kept] = nil
    elseif segment ~= "." then
      kept[#kept + 1] = segment
    end
  end
  if last == "." or last == ".." then kept[#kept + 1] = "" end
  local path = concat(kept, "/")
  return path ~= "" and path or "/"
end

--- `reference` as it is meant on the page `base`, an absolute http or https URL (RFC 3986 5.2); nil for no URL.
function url.join(base, reference)
  if reference == "" then return base end
  local from, to = url.split(base), url.split(reference)
  if not from or not to then return nil end
  if to.scheme ~= "" and to.scheme ~= from.scheme then return reference end
  to.scheme = from.scheme
  if to.netloc ~= "" then return unsplit(to) end
  to.netloc = from.netloc
  if to.path == "" then
    to.path = from.path
    if to.query == "" then to.query = from.query end
  else
    to.path = without_dots(segments(from.path, to.path))
  end
  return unsplit(to)
end

--- The variables `req.url` and below of a URL, by whole name, as policy/request.py has them; nil for no URL.
function url.values(text)
  local parts = url.split(text)
  if not parts then return nil end
  local user, host, port = url.authority(parts.netloc)
  if not user then return nil end
  if port == PORTS[parts.scheme] then port = nil end
  local at = user ~= "" and user .. "@" or ""
  local authority = at .. (find(host, ":", 1, true) and "[" .. host .. "]" or host) .. (port and ":" .. port or "")
  local path = parts.path ~= "" and parts.path or "/"
  local uri = path .. (parts.query ~= "" and "?" .. parts.query or "")
  return {
    ["req.url"] = parts.scheme .. "://" .. authority .. uri,
    ["req.url.raw"] = text,
    ["req.url.authority"] = authority,
    ["req.url.host"] = host,
    ["req.url.port"] = port,
    ["req.url.path"] = P.percent.decode(path),
    ["req.url.raw_path"] = path,
    ["req.url.query"] = parts.query,
    ["req.url.query_params"] = url.parameters(parts.query),
    ["req.url.scheme"] = parts.scheme,
    ["req.url.uri"] = uri,
    ["req.url.user_password"] = user,
  }
end

-- Adds to the list that a map has of a name.
local function add(map, name, value)
  local list = P.Map.get(map, name)
  if not list then
    list = P.List.new({}, 0)
    P.Map.set(map, name, list)
  end
  list.n = list.n + 1
  list[list.n] = value
end
P.add_to_list = add

--- A query as a map from name to a list of values.
function url.parameters(query)
  local map = P.Map.new()
  for _, pair in ipairs(P.percent.pairs(query)) do
    add(map, pair[1], pair[2])
  end
  return map
end

local function map_of(fields)
  local map = P.Map.new()
  for _, field in ipairs(fields) do
    P.Map.set(map, field[1], field[2])
  end
  return map
end

-- Both look for the first letter before they look for the last one: a pattern that seeks both at once takes a time that
-- grows with the square of the length.
local function trimmed(text)
  local first = find(text, "%S")
  return first and match(text, "^.*%S", first) or ""
end

local function unquoted(text)
  local first = find(text, '[^"]')
  return first and match(text, '^.*[^"]', first) or ""
end

--- `a=1; b=2` in any number of fields as a map from name to a list of cookies.
function P.cookies(fields)
  local map = P.Map.new()
  for _, field in ipairs(fields) do
    for pair in field:gmatch("[^;]+") do
      local name, value = match(trimmed(pair), "^([^=]+)=(.*)$")
      if name then add(map, name, map_of({ { "name", name }, { "value", unquoted(value) } })) end
    end
  end
  return map
end

-- Attributes by lower-case name; of one that comes twice the last counts (RFC 6265 5.3).
local function attributes(text)
  local given = {}
  for attribute in text:gmatch("[^;]+") do
    local name, value = match(trimmed(attribute), "^([^=]*)=?(.*)$")
    given[lower(name)] = value
  end
  return given
end

local function set_cookie(field)
  local pair, behind = match(field, "^([^;]*);?(.*)$")
  local name, value = match(trimmed(pair), "^([^=]+)=(.*)$")
  if not name then return nil end
  local given = attributes(behind)
  return name, map_of({
    { "name", name },
    { "value", unquoted(value) },
    { "domain", given.domain or "" },
    { "path", given.path or "" },
    { "same_site", given.samesite or "" },
    { "secure", given.secure ~= nil },
    { "http_only", given.httponly ~= nil },
  })
end

-- Longest path first (RFC 6265 5.4); equal ones stay in order.
local function by_path(list)
  for at = 2, list.n do
    local cookie, place = list[at], at
    local length = #P.Map.get(cookie, "path")
    while place > 1 and #P.Map.get(list[place - 1], "path") < length do
      list[place] = list[place - 1]
      place = place - 1
    end
    list[place] = cookie
  end
end

--- The cookies that fields `Set-Cookie` set (RFC 6265 5.2), by name.
function P.set_cookies(fields)
  local map = P.Map.new()
  for _, field in ipairs(fields) do
    local name, cookie = set_cookie(field)
    if name then add(map, name, cookie) end
  end
  for _, list in P.Map.each(map) do
    by_path(list)
  end
  return map
end

--- The media type (lower case) of a field `Content-Type`, and its parameters as a map.
function P.media_type(field)
  local media, behind = match(field, "^([^;]*);?(.*)$")
  local parameters = P.Map.new()
  for parameter in behind:gmatch("[^;]+") do
    local name, value = match(trimmed(parameter), "^([^=]+)=?(.*)$")
    if name then P.Map.set(parameters, lower(name), unquoted(value)) end
  end
  return lower(trimmed(media)), parameters
end

--- The items of a field that is a list (RFC 9110 5.6.1), without white space around them.
function P.items(fields)
  local list = P.List.new({}, 0)
  for _, field in ipairs(fields) do
    for item in (field .. ","):gmatch("([^,]*),") do
      list.n = list.n + 1
      list[list.n] = trimmed(item)
    end
  end
  return list
end
