-- A visit on its way through a policy: what expressions ask, and what actions leave behind.
--   handle    Envoy's, of the request or of the response
--   program   what this filter runs (translate/policy/program.py)
--   phase     "connect", "request" or "response"
--   vars      P.Map of set-vars; results   what actions found, by name; kept   request variables, for the response
local setmetatable, ipairs, pcall, type = setmetatable, ipairs, pcall, type

P.action = {} -- what actions do, by type: function(visit, configuration) -> whether the visit has ended

local NAMESPACE = "portico" -- of the stream's metadata: the access log and local replies read it, too
local STATE = "state" -- and the hop: each endpoint that a visit comes through has its own

local Visit = {}
Visit.__index = Visit
P.Visit = Visit

function Visit.new(handle, program)
  local visit = {
    handle = handle, program = program, phase = "connect", known = {},
    watched = P.list({}), vars = P.Map.new(), results = P.Map.new(), kept = P.Map.new(),
  }
  return setmetatable(visit, Visit)
end

--- The value of a variable by its whole name. Raises a failure where it has none.
function Visit:get(name)
  local value = self.known[name]
  if value ~= nil then return value end
  if self.phase == "response" and (name:sub(1, 4) == "req." or P.facts[name]) then
    value = self.kept.values[name] -- and nowhere else: the handle is the response's, whose fields have the same names
  else
    local read = P.var[name]
    if read then value = read(self) else value = self:result(name) end
  end
  if value == nil then P.fail(name .. " is not known here") end
  self.known[name] = value
  return value
end

--- `actions.ngrok.<action>`: what that action left.
function Visit:result(name)
  return self.results.values[name:match("^actions%.ngrok%.(.+)$") or name]
end

--- Leave what an action found; `pairs_` as P.map takes them.
function Visit:leave(action, pairs_)
  P.Map.set(self.results, action, P.map(pairs_))
  self.known["actions.ngrok." .. action] = nil
end

--- Count the response for the breaker of this name.
function Visit:watch(name)
  self.watched.n = self.watched.n + 1
  self.watched[self.watched.n] = name
end

--- The message has changed: what was read of it is read anew.
function Visit:changed()
  self.known = {}
end

--- A text or a function of the visit that makes one.
function Visit:text(value)
  if type(value) == "function" then return value(self) end
  return value
end

--- The value of a header. What could end its line, and begin one of the visitor's, is a failure (RFC 9110 5.5).
function Visit:field(value)
  local text = self:text(value)
  if text:find("[%z\1-\8\10-\31\127]") then P.fail("a header has no control characters") end
  return text
end

P.var["vars"] = function(visit) return visit.vars end

local function metadata(handle)
  return handle:streamInfo():dynamicMetadata()
end

--- Write a fact beside the stream, where Envoy's own parts find it: access log, local replies.
function Visit:note(key, value)
  metadata(self.handle):set(NAMESPACE, key, value)
end

local NOTHING = "-"

-- Adds the entries of a map that have these names, or all of them.
local function add_known(state, key, map, names)
  if names == true then
    if #map.keys > 0 then P.Map.set(state, key, map) end
    return
  end
  local known
  for _, name in ipairs(names) do
    local value = map.values[name]
    if value ~= nil then
      known = known or P.Map.new()
      P.Map.set(known, name, value)
    end
  end
  if known then P.Map.set(state, key, known) end
end

local function keep_request(self, names)
  for _, name in ipairs(names) do
    if not P.Map.has(self.kept, name) then
      local found, value = pcall(self.get, self, name)
      if found then P.Map.set(self.kept, name, value) end
    end
  end
end

local MARKS = {"fired", "ended", "forwarding"}

--- Keep what later filters of this visit, and its response, have to know (translate/policy/carried.py).
function Visit:save()
  local carries, state = self.program.carries, P.Map.new()
  keep_request(self, carries.request)
  add_known(state, "vars", self.vars, carries.vars)
  add_known(state, "results", self.results, carries.results)
  if #self.kept.keys > 0 then P.Map.set(state, "kept", self.kept) end
  if self.watched.n > 0 then P.Map.set(state, "watched", self.watched) end
  for _, mark in ipairs(MARKS) do
    -- In the middle of which rule it stopped matters to the next filter alone.
    if self[mark] and not (mark == "fired" and self.program.last) then P.Map.set(state, mark, self[mark]) end
  end
  self:note(STATE .. self.program.hop, #state.keys > 0 and P.json.encode(P.packed(state)) or NOTHING)
end

--- What the filters before this one have kept; false where there were none.
function Visit:load()
  local of = metadata(self.handle):get(NAMESPACE)
  local text = of and of[STATE .. self.program.hop]
  if not text then return false end
  if text == NOTHING then return true end
  local state = P.unpacked(P.json.decode(text)).values
  for _, name in ipairs({"vars", "results", "kept", "watched"}) do self[name] = state[name] or self[name] end
  for _, mark in ipairs(MARKS) do self[mark] = state[mark] end
  return true
end

local TAG = "$" -- of a map that stands for a value JSON has not

--- A value as JSON can carry it.
function P.packed(value)
  local kind = P.kind(value)
  if kind == "list" then
    local items = {}
    for i = 1, value.n do items[i] = P.packed(value[i]) end
    return P.List.new(items, value.n)
  elseif kind == "map" then
    local map = P.Map.new()
    for key, item in P.Map.each(value) do P.Map.set(map, key, P.packed(item)) end
    return P.Map.has(map, TAG) and P.map({{TAG, P.list({"map", map})}}) or map
  elseif kind == "bytes" then
    return P.map({{TAG, P.list({"bytes", P.base64.encode(value.bytes)})}})
  elseif kind == "google.protobuf.Timestamp" or kind == "google.protobuf.Duration" then
    return P.map({{TAG, P.list({kind:match("%w+$"):lower(), value.seconds, value.nanos})}})
  elseif kind == "type" then
    return P.map({{TAG, P.list({"type", value.name})}})
  end
  return value
end

local UNPACKED = {
  map = function(parts) return P.unpacked(parts[2], true) end,
  bytes = function(parts) return P.bytes(P.base64.decode(parts[2])) end,
  timestamp = function(parts) return P.timestamp(parts[2], parts[3]) end,
  duration = function(parts) return P.duration(parts[2], parts[3]) end,
  type = function(parts) return P.types[parts[2]] end,
}

--- The value that was packed; `plain` where a map is one whatever its keys.
function P.unpacked(value, plain)
  local kind = P.kind(value)
  if kind == "list" then
    local items = {}
    for i = 1, value.n do items[i] = P.unpacked(value[i]) end
    return P.List.new(items, value.n)
  elseif kind == "map" then
    local tagged = not plain and value.values[TAG]
    if tagged then return UNPACKED[tagged[1]](tagged) end
    local map = P.Map.new()
    for key, item in P.Map.each(value) do P.Map.set(map, key, P.unpacked(item)) end
    return map
  end
  return value
end
