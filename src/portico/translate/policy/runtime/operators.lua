-- What operators become. Where the compiler knows the types of both sides it writes plain Lua; these are for the rest.
local fail, kind, is_whole = P.fail, P.kind, P.is_whole
local List, Map, Bytes, Timestamp, Duration = P.List, P.Map, P.Bytes, P.Timestamp, P.Duration
local type, getmetatable, pcall, error, select, floor = type, getmetatable, pcall, error, select, math.floor
local op = P.op
local WHOLE = 9007199254740991 -- 2^53 - 1

local function no_overload(name, ...)
  local kinds = {}
  for i = 1, select("#", ...) do
    kinds[i] = kind((select(i, ...)))
  end
  fail("no matching overloads found : " .. name .. "(" .. table.concat(kinds, ", ") .. ")")
end
P.no_overload = no_overload

--- The value, of which only here is seen that it has the type that the place asks for.
function op.truth(value)
  if type(value) ~= "boolean" then no_overload("bool", value) end
  return value
end

function op.text(value)
  if type(value) ~= "string" then no_overload("string", value) end
  return value
end

function op.number(value)
  if type(value) ~= "number" then no_overload("number", value) end
  return value
end

function op.whole(value)
  if type(value) ~= "number" or not is_whole(value) then no_overload("int", value) end
  return value
end

function op.natural(value)
  if type(value) ~= "number" or not is_whole(value) or value < 0 then no_overload("uint", value) end
  return value
end

function op.list(value)
  if not P.is_list(value) then no_overload("list", value) end
  return value
end

function op.map(value)
  if not P.is_map(value) then no_overload("map", value) end
  return value
end

--- Of one of two types.
function op.of_kind(value, one, other)
  local of = kind(value)
  if of ~= one and of ~= other then no_overload(one, value) end
  return value
end

--- A list of texts.
function op.texts(value)
  op.list(value)
  for i = 1, value.n do
    op.text(value[i])
  end
  return value
end

--- What pcall has caught, where it is an expression's failure; any other error is no matter of `||`, and goes on.
local function caught(failure)
  if type(failure) ~= "table" or getmetatable(failure) ~= P.Failure then error(failure, 0) end
  return failure
end
op.caught = caught

--- `&&` where an earlier side may fail: what is false decides, wherever it stands. Takes functions.
function op.every(...)
  local failure
  for i = 1, select("#", ...) do
    local done, truth = pcall((select(i, ...)))
    if not done then
      failure = failure or caught(truth)
    elseif not truth then
      return false
    end
  end
  if failure then error(failure, 0) end
  return true
end

--- `||` of the same kind.
function op.some(...)
  local failure
  for i = 1, select("#", ...) do
    local done, truth = pcall((select(i, ...)))
    if not done then
      failure = failure or caught(truth)
    elseif truth then
      return true
    end
  end
  if failure then error(failure, 0) end
  return false
end

local equal

local function same_items(a, b)
  if a.n ~= b.n then return false end
  for i = 1, a.n do
    if not equal(a[i], b[i]) then return false end
  end
  return true
end

local function same_entries(a, b)
  if #a.keys ~= #b.keys then return false end
  for _, key in ipairs(a.keys) do
    local other = b.values[key]
    if other == nil or not equal(a.values[key], other) then return false end
  end
  return true
end

--- `==` of any two values; those of different types are not equal, numbers are by their worth.
function equal(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return false end
  local of = getmetatable(a)
  if of ~= getmetatable(b) then return false end
  if of == List then return same_items(a, b) end
  if of == Map then return same_entries(a, b) end
  if of == Bytes then return a.bytes == b.bytes end
  if of == Timestamp or of == Duration then return a.seconds == b.seconds and a.nanos == b.nanos end
  return false
end
op.equal = equal

local function less(name, a, b)
  local of = type(a)
  if of ~= type(b) then no_overload(name, a, b) end
  if of == "number" or of == "string" then return a < b end
  if of == "boolean" then return not a and b end
  of = getmetatable(a)
  if of == getmetatable(b) then
    if of == Bytes then return a.bytes < b.bytes end
    if of == Timestamp or of == Duration then
      return a.seconds < b.seconds or a.seconds == b.seconds and a.nanos < b.nanos
    end
  end
  no_overload(name, a, b)
end

function op.less(a, b)
  return less("_<_", a, b)
end

--- `<=`
function op.at_most(a, b)
  if type(a) == "number" and type(b) == "number" then return a <= b end -- NaN is on neither side
  return not less("_<=_", b, a)
end

local function in_range(number)
  if number > WHOLE or number < -WHOLE then fail("integer overflow") end
  return number + 0 -- no negative zero
end

function op.add_int(a, b)
  return in_range(a + b)
end

function op.sub_int(a, b)
  return in_range(a - b)
end

function op.mul_int(a, b)
  return in_range(a * b)
end

function op.sub_uint(a, b)
  if a < b then fail("unsigned integer overflow") end
  return a - b
end

--- Toward zero.
function op.div_int(a, b)
  if b == 0 then fail("divide by zero") end
  local found = a / b
  return (found < 0 and -floor(-found) or floor(found)) + 0
end

--- With the sign of the first.
function op.mod_int(a, b)
  if b == 0 then fail("modulus by zero") end
  return math.fmod(a, b) + 0
end

--- Of two numbers of types that are not known: whole ones are taken for ints.
local function of_numbers(name, a, b, whole, broken)
  if type(a) ~= "number" or type(b) ~= "number" then no_overload(name, a, b) end
  if is_whole(a) and is_whole(b) then return whole(a, b) end
  return broken(a, b)
end

local function plus(a, b)
  return a + b
end

local function minus(a, b)
  return a - b
end

local function times(a, b)
  return a * b
end

local function over(a, b)
  return a / b
end

function op.append(a, b)
  local joined, n = {}, a.n
  for i = 1, n do
    joined[i] = a[i]
  end
  for i = 1, b.n do
    joined[n + i] = b[i]
  end
  return List.new(joined, n + b.n)
end

function op.add(a, b)
  if type(a) == "string" and type(b) == "string" then return a .. b end
  if type(a) == "table" and type(b) == "table" then
    local of, other = getmetatable(a), getmetatable(b)
    if of == List and other == List then return op.append(a, b) end
    if of == Bytes and other == Bytes then return P.bytes(a.bytes .. b.bytes) end
    if (of == Timestamp or of == Duration) and other == Duration then return P.time.add(a, b) end
    if of == Duration and other == Timestamp then return P.time.add(b, a) end
  end
  return of_numbers("_+_", a, b, op.add_int, plus)
end

function op.subtract(a, b)
  if type(a) == "table" and type(b) == "table" then
    local of, other = getmetatable(a), getmetatable(b)
    if of == Timestamp and other == Timestamp then return P.time.between(a, b) end
    if (of == Timestamp or of == Duration) and other == Duration then return P.time.add(a, P.time.negative(b)) end
  end
  return of_numbers("_-_", a, b, op.sub_int, minus)
end

function op.multiply(a, b)
  return of_numbers("_*_", a, b, op.mul_int, times)
end

function op.divide(a, b)
  return of_numbers("_/_", a, b, op.div_int, over)
end

function op.modulo(a, b)
  return op.mod_int(op.whole(a), op.whole(b))
end

--- `-x`
function op.negative(value)
  return 0 - op.number(value)
end

--- `list[at]`, from 0.
function op.item(list, at)
  if type(at) ~= "number" or at % 1 ~= 0 then fail("index error: expected integer type, got " .. kind(at)) end
  if at < 0 or at >= list.n then fail(("index error: index=%d size=%d"):format(at, list.n)) end
  return list[at + 1]
end

local function missing(key)
  fail("there is no entry " .. (type(key) == "string" and key:sub(1, 100) or tostring(key)))
end

--- `map[key]`
function op.entry(map, key)
  local value = map.values[key]
  if value == nil then missing(key) end
  return value
end

function op.index(container, key)
  local of = type(container) == "table" and getmetatable(container)
  if of == Map then return op.entry(container, key) end
  if of == List then return op.item(container, key) end
  fail("invalid container type: '" .. kind(container) .. "'")
end

--- `value.name`
function op.field(value, name)
  if type(value) ~= "table" or getmetatable(value) ~= Map then fail("applying SELECT to non-message type") end
  local found = value.values[name]
  if found == nil then missing(name) end
  return found
end

--- `has(value.name)`
function op.has(value, name)
  if type(value) ~= "table" or getmetatable(value) ~= Map then fail("applying SELECT to non-message type") end
  return value.values[name] ~= nil
end

--- `value in list`
function op.among(value, list)
  for i = 1, list.n do
    if equal(value, list[i]) then return true end
  end
  return false
end

--- `key in map`
function op.key_of(key, map)
  return map.values[key] ~= nil
end

--- `value in container`
function op.within(value, container)
  local of = type(container) == "table" and getmetatable(container)
  if of == List then return op.among(value, container) end
  if of == Map then return op.key_of(value, container) end
  no_overload("@in", value, container)
end
