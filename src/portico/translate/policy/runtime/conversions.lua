-- Conversions: int(), uint(), double(), string(), bool(), bytes(), type(), and values inside longer texts.
local fail, kind, fn, op = P.fail, P.kind, P.fn, P.op
local type, tonumber, floor, format = type, tonumber, math.floor, string.format
local WHOLE = 9007199254740991 -- 2^53 - 1

-- White space and one sign around digits, as abseil reads them.
local function whole_number(text, signs)
  local digits = text:match("^[\t-\r ]*(" .. signs .. "?%d+)[\t-\r ]*$")
  local number = digits and tonumber((digits:gsub("^%+", ""))) + 0
  if not number or number > WHOLE or number < -WHOLE then fail("cannot convert string to int") end
  return number
end

--- int()
fn["int"] = function(value)
  if type(value) == "number" then
    if not (value < WHOLE + 1 and value > -WHOLE - 1) then fail("double out of int64 range") end
    return (value < 0 and -floor(-value) or floor(value)) + 0
  end
  if type(value) == "string" then return whole_number(value, "[+-]") end
  if kind(value) == "google.protobuf.Timestamp" then return value.seconds end
  P.no_overload("int", value)
end

--- uint()
fn["uint"] = function(value)
  if type(value) == "number" then
    if value < 0 or not (value < WHOLE + 1) then fail("int64 out of uint64 range") end
    return floor(value)
  end
  if type(value) == "string" then return whole_number(value, "%+") end
  P.no_overload("uint", value)
end

local SPECIAL = { inf = math.huge, infinity = math.huge, nan = 0 / 0 }

local function double_of(text)
  local sign, digits = text:match("^[\t-\r ]*([+-]?)(.-)[\t-\r ]*$")
  local number = SPECIAL[digits:lower()]
  if not number and (digits:find("^%.?%d[%d.]*$") or digits:find("^%.?%d[%d.]*[eE][+-]?%d+$")
    or digits:find("^0[xX]%x+$")) then
    number = tonumber(digits)
  end
  if not number then fail("cannot convert string to double") end
  return sign == "-" and -number or number
end

--- double()
fn["double"] = function(value)
  if type(value) == "number" then return value end
  if type(value) == "string" then return double_of(value) end
  P.no_overload("double", value)
end

local TRUTHS = { ["1"] = true, t = true, ["true"] = true, TRUE = true, True = true }
local UNTRUTHS = { ["0"] = true, f = true, ["false"] = true, FALSE = true, False = true }

--- bool()
fn["bool"] = function(value)
  if type(value) == "boolean" then return value end
  if type(value) ~= "string" then P.no_overload("bool", value) end
  if TRUTHS[value] then return true end
  if UNTRUTHS[value] then return false end
  fail("type conversion error from 'string' to 'bool'")
end

--- bytes()
fn["bytes"] = function(value)
  if type(value) == "string" then return P.bytes(value) end
  if P.is_bytes(value) then return value end
  P.no_overload("bytes", value)
end

--- string() of a value whose type is not known: a whole number is an int.
fn["string"] = function(value)
  local of = kind(value)
  if of == "string" then return value end
  if of == "int" then return format("%d", value) end
  if of == "double" then return P.numbers.of_double(value) end
  if of == "bool" then return value and "true" or "false" end
  if of == "google.protobuf.Timestamp" or of == "google.protobuf.Duration" then return P.time.text(value) end
  if of ~= "bytes" then P.no_overload("string", value) end
  if not P.utf8.valid(value.bytes) then fail("malformed UTF-8 bytes") end
  return value.bytes
end

--- type() of a value whose type is not known.
function op.type_of(value)
  return P.types[kind(value)]
end

--- What has been looked at, and what it turned out to be.
function op.given(_, known)
  return known
end

--- A whole number as text.
function op.int_text(value)
  return format("%d", value)
end

--- A value of any type inside a longer text (`policy/effects.py`): what is no text, number or truth is JSON.
function op.text_of(value)
  local of = type(value)
  if of == "string" then return value end
  if of == "boolean" then return value and "true" or "false" end
  if of == "number" then return P.is_whole(value) and format("%d", value) or op.double_text(value) end
  return P.json.encode(value)
end

--- The same of a double.
function op.double_text(value)
  if value ~= value or value == math.huge or value == -math.huge then fail("this value has no JSON") end
  return P.numbers.shown(value)
end

--- A value that leaves its expression: one that has no JSON (an endless number) cannot.
function op.presentable(value)
  if type(value) == "number" then
    op.double_text(value)
  elseif P.is_list(value) then
    for i = 1, value.n do
      op.presentable(value[i])
    end
  elseif P.is_map(value) then
    for _, item in P.Map.each(value) do
      op.presentable(item)
    end
  end
  return value
end

--- The value of a secret's template, whose expressions are as secret as it is.
function op.hidden(made)
  local done, value = pcall(made)
  if done then return value end
  op.caught(value)
  fail("an expression of a secret failed")
end
