-- The values of expressions: text, number and truth are Lua's own; the others are tables, told apart by metatable.
--   null               P.null
--   list               {n = 2, "a", "b"}                                   P.List
--   map                {keys = {"a"}, values = {a = 1}}, in order          P.Map
--   bytes              {bytes = "..."}                                     P.Bytes
--   timestamp          {seconds = 0, nanos = 0} since 1970                 P.Timestamp
--   duration           {seconds = 0, nanos = 0}, both of one sign          P.Duration
--   type               {name = "int"}, one table each                      P.types
-- Whole numbers end before 2^53 on either side; one that goes beyond is a failure.
local setmetatable, getmetatable, type, error, ipairs, tostring = setmetatable, getmetatable, type, error, ipairs, tostring

P.fn = {} -- functions of expressions, by name; one that is not steady (policy/functions) takes the visit first
P.op = {} -- what operators and conversions become
P.var = {} -- variables by whole name: function(visit) -> value

local Failure = {}
Failure.__index = Failure
Failure.__tostring = function(failure) return failure.reason end
P.Failure = Failure

--- What an expression raises that has no value: error(P.failure("..."), 0).
function P.failure(reason)
  return setmetatable({reason = reason}, Failure)
end

--- Raises it.
function P.fail(reason)
  error(setmetatable({reason = reason}, Failure), 0)
end

--- The words of anything that pcall has caught.
function P.reason_of(caught)
  return type(caught) == "table" and getmetatable(caught) == Failure and caught.reason or tostring(caught)
end

P.null = setmetatable({}, {__tostring = function() return "null" end})

local List = {}
P.List = List

--- A list of what stands at 1 to n (or to the first hole); the table becomes the list.
function List.new(items, n)
  items.n = n or #items
  return setmetatable(items, List)
end

function P.is_list(value)
  return type(value) == "table" and getmetatable(value) == List
end

local Map = {}
P.Map = Map

function Map.new()
  return setmetatable({keys = {}, values = {}}, Map)
end

--- The value of a key; nil where there is none.
function Map.get(map, key)
  return map.values[key]
end

function Map.has(map, key)
  return map.values[key] ~= nil
end

--- A new key comes last; an old one stays where it is. Returns the map.
function Map.set(map, key, value)
  if map.values[key] == nil then map.keys[#map.keys + 1] = key end
  map.values[key] = value
  return map
end

function Map.remove(map, key)
  if map.values[key] == nil then return end
  map.values[key] = nil
  local kept = {}
  for _, other in ipairs(map.keys) do
    if other ~= key then kept[#kept + 1] = other end
  end
  map.keys = kept
end

function Map.size(map)
  return #map.keys
end

local function next_entry(state)
  local at = state.at + 1
  state.at = at
  local key = state.map.keys[at]
  if key ~= nil then return key, state.map.values[key] end
end

--- for key, value in P.Map.each(map)
function Map.each(map)
  return next_entry, {map = map, at = 0}
end

--- A map of two lists of equal length; a key that comes twice is a failure.
function Map.of(keys, values, n)
  local map = Map.new()
  for i = 1, n do
    local key = keys[i]
    if Map.has(map, key) then P.fail("duplicate key in map") end
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then P.fail("no key of a map") end
    Map.set(map, key, values[i])
  end
  return map
end

--- A list of what a table has from 1 on.
function P.list(items)
  return List.new(items)
end

--- A map of a table of pairs; of a key that comes twice the last value.
function P.map(pairs_)
  local map = Map.new()
  for i = 1, #pairs_ do Map.set(map, pairs_[i][1], pairs_[i][2]) end
  return map
end

function P.is_map(value)
  return type(value) == "table" and getmetatable(value) == Map
end

local Bytes = {}
P.Bytes = Bytes

function P.bytes(text)
  return setmetatable({bytes = text}, Bytes)
end

function P.is_bytes(value)
  return type(value) == "table" and getmetatable(value) == Bytes
end

local Timestamp, Duration, Type = {}, {}, {}
P.Timestamp, P.Duration, P.Type = Timestamp, Duration, Type

function P.timestamp(seconds, nanos)
  return setmetatable({seconds = seconds, nanos = nanos or 0}, Timestamp)
end

function P.duration(seconds, nanos)
  return setmetatable({seconds = seconds, nanos = nanos or 0}, Duration)
end

P.types = {}
for _, name in ipairs({
  "bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint",
  "google.protobuf.Timestamp", "google.protobuf.Duration",
}) do
  P.types[name] = setmetatable({name = name}, Type)
end

local WHOLE = 9007199254740991 -- 2^53 - 1: the next one may stand for the one after it

--- Whether a number is one that may be an int.
function P.is_whole(number)
  return number % 1 == 0 and number >= -WHOLE and number <= WHOLE
end

local BY_METATABLE = {
  [List] = "list", [Map] = "map", [Bytes] = "bytes", [Type] = "type",
  [Timestamp] = "google.protobuf.Timestamp", [Duration] = "google.protobuf.Duration",
}

--- The name of a value's type. A number is an int where it is whole: Lua has one kind of them.
function P.kind(value)
  local kind = type(value)
  if kind == "string" then return "string" end
  if kind == "boolean" then return "bool" end
  if kind == "number" then return P.is_whole(value) and "int" or "double" end
  if value == P.null then return "null_type" end
  return BY_METATABLE[getmetatable(value)] or "unknown"
end

local learned, MOST = 0, 4096

--- What the compiler has made of constants (a regular expression, a time zone), by what it wrote there.
P.known = {}

--- `P.known[key] or P.learn(key, source)`: compiled where it is met first. Emptied where it is full: policies change.
function P.learn(key, source)
  if learned >= MOST then P.known, learned = {}, 0 end
  local made = assert(loadstring("local P = ...\nreturn " .. source))(P)
  P.known[key], learned = made, learned + 1
  return made
end
