-- What ngrok's language does with lists beside CEL's own macros (policy/functions/lists.py).
local fn = P.fn

-- Lists in the list replaced by their items, and whether there was one.
local function flattened(list)
  local items, n, nested = {}, 0, false
  for at = 1, list.n do
    local item = list[at]
    if P.is_list(item) then
      nested = true
      for inner = 1, item.n do
        n = n + 1
        items[n] = item[inner]
      end
    else
      n = n + 1
      items[n] = item
    end
  end
  return P.List.new(items, n), nested
end

fn["flatten"] = function(list, depth)
  if (depth or 1) < 0 then P.fail("the depth of flatten is negative") end
  local nested = true
  for _ = 1, depth or 1 do
    if not nested then break end
    list, nested = flattened(list)
  end
  return list
end

fn["slice"] = function(list, first, stop)
  if first < 0 or first > stop or stop > list.n then P.fail("slice reaches beyond the list") end
  local items = {}
  for at = first + 1, stop do
    items[at - first] = list[at]
  end
  return P.List.new(items, stop - first)
end

local SORTABLE = { int = true, double = true, string = true, bool = true, bytes = true }
SORTABLE["google.protobuf.Timestamp"], SORTABLE["google.protobuf.Duration"] = true, true

-- What stands for an item in a comparison.
local function rank(item, kind)
  if kind == "bool" then return item and 1 or 0 end
  return kind == "bytes" and item.bytes or item
end

local function before(one, other)
  if type(one) ~= "table" then return one < other end
  if one.seconds ~= other.seconds then return one.seconds < other.seconds end
  return one.nanos < other.nanos
end

-- Merges two sorted neighbours of `from`, low..middle-1 and middle..high-1, into `to`.
local function merge(from, to, low, middle, high)
  local left, right = low, middle
  for at = low, high - 1 do
    local takes_right = left >= middle or (right < high and before(from[right].rank, from[left].rank))
    if takes_right then
      to[at], right = from[right], right + 1
    else
      to[at], left = from[left], left + 1
    end
  end
end

--- Rows in the order of their `rank`, those of equal rank as they came. By merging: unlike table.sort, no list that a
--- visitor chooses takes longer than n log n.
function P.sorted(rows)
  local from, to, width, n = rows, {}, 1, #rows
  while width < n do
    for low = 1, n, 2 * width do
      merge(from, to, low, math.min(low + width, n + 1), math.min(low + 2 * width, n + 1))
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

-- Lua has one kind of numbers, so whole ones and others are sorted together.
local function sort_kind(item)
  local kind = P.kind(item)
  return kind == "int" and "double" or kind
end

fn["sort"] = function(list)
  local rows, first = {}, list.n > 0 and sort_kind(list[1])
  for at = 1, list.n do
    local kind = sort_kind(list[at])
    if kind ~= first or not (SORTABLE[kind] or list.n == 1 and kind == "null_type") then
      P.fail("only items of one comparable type can be sorted")
    end
    rows[at] = { item = list[at], rank = rank(list[at], kind) }
  end
  local items = {}
  for at, row in ipairs(P.sorted(rows)) do
    items[at] = row.item
  end
  return P.List.new(items, list.n)
end

local identity -- of what holds values, below

local function map_identity(map)
  local rows = {}
  for key, item in P.Map.each(map) do
    rows[#rows + 1] = { rank = identity(key), item = identity(item) }
  end
  rows = P.sorted(rows)
  for at, row in ipairs(rows) do
    rows[at] = row.rank .. row.item
  end
  return table.concat(rows)
end

-- A text that is equal for equal values: its length and type keep any two others apart.
function identity(value)
  local kind, text = P.kind(value), nil
  if kind == "list" then
    local rows = {}
    for at = 1, value.n do
      rows[at] = identity(value[at])
    end
    text = table.concat(rows)
  elseif kind == "map" then
    text = map_identity(value)
  elseif kind == "type" then
    text = value.name
  else
    text = P.json.encode(value)
  end
  return kind .. #text .. ":" .. text
end

fn["distinct"] = function(list)
  local items, n, seen = {}, 0, {}
  for at = 1, list.n do
    local item = list[at]
    local key = identity(item)
    if not seen[key] then
      seen[key] = true
      n = n + 1
      items[n] = item
    end
  end
  return P.List.new(items, n)
end

local LONGEST = 10000

fn["lists.range"] = function(count)
  if count < 0 or count > LONGEST then P.fail("lists.range counts to 10000 at most") end
  local items = {}
  for at = 1, count do
    items[at] = at - 1
  end
  return P.List.new(items, count)
end
