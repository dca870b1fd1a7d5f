-- Lists and maps gone through: all, exists, exists_one, map, filter. The body is a function of one item, or of one key.
--
-- A visitor decides how long some lists are, and any owner of an endpoint writes expressions. So an evaluation has at most
-- as many turns as cel-cpp allows, each turn costs what the compiler weighs its body (some 8 a node), and what a turn reads
-- and makes costs its bytes. Spent means spent: no `||` makes a truth of an evaluation that ran out.
local fail, List, Map = P.fail, P.List, P.Map
local type, getmetatable, pcall, error, pairs = type, getmetatable, pcall, error, pairs
local op = P.op
local TURNS, COST = 10000, 4194304

local turns, cost = 0, 0

--- Before an expression with loops.
function op.begin()
  turns, cost = 0, 0
end

--- `op.bounded(op.begin(), value)`: its value, unless it ran out.
function op.bounded(_, value)
  if turns >= TURNS then fail("iteration budget exceeded") end
  if cost > COST then fail("loops cost more than they may") end
  return value
end

local function pay(more)
  cost = cost + more
  if cost > COST then fail("loops cost more than they may") end
end

--- The value, which one turn of a loop reads or makes, all of it.
function op.charge(value)
  if type(value) == "string" then
    pay(#value)
  elseif type(value) == "table" then
    local of = getmetatable(value)
    local items = of == Map and value.values or of == List and value
    pay(8 * (items and (value.n or #value.keys) or 1) + (of == P.Bytes and #value.bytes or 0))
    for _, item in pairs(items or {}) do
      if type(item) == "table" then op.charge(item) end
    end
  end
  return value
end

local function turn(weight)
  turns = turns + 1
  if turns >= TURNS then fail("iteration budget exceeded") end
  pay(weight)
end

local function items_of(range)
  local of = type(range) == "table" and getmetatable(range)
  if of == List then return range, range.n end
  if of == Map then return range.keys, #range.keys end
  P.no_overload("<iter_range>", range)
end

function op.all(range, weight, holds)
  local items, n = items_of(range)
  for i = 1, n do
    turn(weight)
    if not holds(items[i]) then return false end
  end
  return true
end

function op.exists(range, weight, holds)
  local items, n = items_of(range)
  for i = 1, n do
    turn(weight)
    if holds(items[i]) then return true end
  end
  return false
end

--- Until one item gives `wanted`, which makes good for those that failed.
local function search(range, weight, holds, wanted)
  local items, n = items_of(range)
  local failure
  for i = 1, n do
    turn(weight)
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
function op.all_but_failed(range, weight, holds)
  return search(range, weight, holds, false)
end

--- `exists` of the same kind.
function op.exists_but_failed(range, weight, holds)
  return search(range, weight, holds, true)
end

function op.exists_one(range, weight, holds)
  local items, n = items_of(range)
  local count = 0
  for i = 1, n do
    turn(weight)
    if holds(items[i]) then count = count + 1 end
  end
  return count == 1
end

function op.each(range, weight, made)
  local items, n = items_of(range)
  local found = {}
  for i = 1, n do
    turn(weight)
    found[i] = op.charge(made(items[i]))
  end
  return List.new(found, n)
end

function op.filter(range, weight, holds, made)
  local items, n = items_of(range)
  local found, count = {}, 0
  for i = 1, n do
    turn(weight)
    if holds(items[i]) then
      count = count + 1
      found[count] = items[i]
      if made then found[count] = op.charge(made(items[i])) end
    end
  end
  return List.new(found, count)
end
