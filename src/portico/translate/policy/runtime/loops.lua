-- Lists and maps gone through: all, exists, exists_one, map, filter. The body is a function of one item, or of one key.
--
-- A visitor decides how long some lists are, so an evaluation has at most as many turns as cel-cpp allows, and what its
-- loops read and make is counted in bytes. Spent means spent: no `||` makes a truth of an evaluation that ran out.
local fail, List, Map = P.fail, P.List, P.Map
local type, getmetatable, pcall, error = type, getmetatable, pcall, error
local op = P.op
local TURNS, BYTES = 10000, 4194304

local turns, bytes = 0, 0

--- Before an expression with loops.
function op.begin()
  turns, bytes = 0, 0
end

--- `op.bounded(op.begin(), value)`: its value, unless it ran out.
function op.bounded(_, value)
  if turns >= TURNS then fail("iteration budget exceeded") end
  if bytes > BYTES then fail("loops have read and made more than 4 MiB") end
  return value
end

--- The value, which one turn of a loop reads or makes.
function op.charge(value)
  local size = 0
  if type(value) == "string" then
    size = #value
  elseif type(value) == "table" then
    size = 8 * (value.n or value.keys and #value.keys or 0) + (value.bytes and #value.bytes or 0)
  end
  bytes = bytes + size
  if bytes > BYTES then fail("loops have read and made more than 4 MiB") end
  return value
end

local function turn()
  turns = turns + 1
  if turns >= TURNS then fail("iteration budget exceeded") end
end

local function items_of(range)
  local of = type(range) == "table" and getmetatable(range)
  if of == List then return range, range.n end
  if of == Map then return range.keys, #range.keys end
  P.no_overload("<iter_range>", range)
end

function op.all(range, holds)
  local items, n = items_of(range)
  for i = 1, n do
    turn()
    if not holds(items[i]) then return false end
  end
  return true
end

function op.exists(range, holds)
  local items, n = items_of(range)
  for i = 1, n do
    turn()
    if holds(items[i]) then return true end
  end
  return false
end

--- Until one item gives `wanted`, which makes good for those that failed.
local function search(range, holds, wanted)
  local items, n = items_of(range)
  local failure
  for i = 1, n do
    turn()
    local done, truth = pcall(holds, items[i])
    if not done then
      failure = failure or op.caught(truth)
    elseif truth == wanted then
      return wanted
    end
  end
  if failure then error(failure, 0) end
  return not wanted
end

--- `all` whose body may fail.
function op.all_but_failed(range, holds)
  return search(range, holds, false)
end

--- `exists` of the same kind.
function op.exists_but_failed(range, holds)
  return search(range, holds, true)
end

function op.exists_one(range, holds)
  local items, n = items_of(range)
  local count = 0
  for i = 1, n do
    turn()
    if holds(items[i]) then count = count + 1 end
  end
  return count == 1
end

function op.each(range, made)
  local items, n = items_of(range)
  local found = {}
  for i = 1, n do
    turn()
    found[i] = op.charge(made(items[i]))
  end
  return List.new(found, n)
end

function op.filter(range, holds, made)
  local items, n = items_of(range)
  local found, count = {}, 0
  for i = 1, n do
    turn()
    if holds(items[i]) then
      count = count + 1
      found[count] = items[i]
      if made then found[count] = op.charge(made(items[i])) end
    end
  end
  return List.new(found, count)
end
