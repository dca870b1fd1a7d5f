-- `'%s: %d'.format([a, b])`
local fail, kind, fn = P.fail, P.kind, P.fn
local format, floor = string.format, math.floor

local shown

local function shown_items(list)
  local parts = {}
  for i = 1, list.n do
    parts[i] = shown(list[i])
  end
  return "[" .. P.text.joined(parts, ", ") .. "]"
end

local function shown_entries(map)
  local rows = {}
  for key, value in P.Map.each(map) do
    rows[#rows + 1] = { rank = shown(key), value = shown(value) }
  end
  local parts = {}
  for i, row in ipairs(P.sorted(rows)) do
    parts[i] = row.rank .. ": " .. row.value
  end
  return "{" .. P.text.joined(parts, ", ") .. "}"
end

local function special(number)
  if number ~= number then return "NaN" end
  if number == math.huge then return "Infinity" end
  if number == -math.huge then return "-Infinity" end
end

local function shown_double(number)
  return special(number) or format("%g", number)
end

local SHOWN = { list = shown_items, map = shown_entries, double = shown_double }

--- `%s` of a value.
function shown(value)
  local of = kind(value)
  if SHOWN[of] then return SHOWN[of](value) end
  if of == "null_type" then return "null" end
  if of == "type" then return value.name end
  return fn["string"](value)
end

local function hex(text, form)
  return (text:gsub(".", function(character) return format(form, character:byte()) end))
end

local function digits(number, base)
  local found = {}
  local left = math.abs(number)
  repeat
    table.insert(found, 1, tostring(left % base))
    left = floor(left / base)
  until left == 0
  return (number < 0 and "-" or "") .. table.concat(found)
end

local function of_hex(value, letter)
  local of = kind(value)
  if of == "string" then return hex(value, "%02" .. letter) end
  if of == "bytes" then return hex(value.bytes, "%02" .. letter) end
  if of ~= "int" then fail("hex clause can only be used on integers, byte buffers, and strings, was given " .. of) end
  return (value < 0 and "-" or "") .. format("%" .. letter, math.abs(value))
end

local function of_float(value, letter, precision)
  if value == "NaN" or value == "Infinity" or value == "-Infinity" then return value end
  if type(value) ~= "number" then fail("only numbers can be written so, was given " .. kind(value)) end
  return special(value) or format("%." .. precision .. letter, value)
end

local CLAUSES = {
  s = function(value) return shown(value) end,
  d = function(value, precision)
    if type(value) ~= "number" then
      fail("decimal clause can only be used on numbers, was given " .. kind(value))
    end
    return P.is_whole(value) and format("%d", value) or of_float(value, "f", precision)
  end,
  f = function(value, precision) return of_float(value, "f", precision) end,
  e = function(value, precision) return of_float(value, "e", precision) end,
  x = function(value) return of_hex(value, "x") end,
  X = function(value) return of_hex(value, "X") end,
  o = function(value)
    if kind(value) ~= "int" then fail("octal clause can only be used on integers, was given " .. kind(value)) end
    return digits(value, 8)
  end,
  b = function(value)
    if type(value) == "boolean" then return value and "1" or "0" end
    if kind(value) ~= "int" then
      fail("binary clause can only be used on integers and bools, was given " .. kind(value))
    end
    return digits(value, 2)
  end,
}

-- What a clause at `at`, behind its percent sign, gives; and where the text goes on.
local function clause(pattern, at, list, number)
  local precision, letter, after = pattern:match("^%.?(%d*)(.)()", at)
  if pattern:sub(at, at) ~= "." then precision, letter, after = "", pattern:sub(at, at), at + 1 end
  local written = CLAUSES[letter]
  if not written then fail("unrecognized formatting clause") end
  if precision == "" and after > at + 1 then fail("unable to convert precision specifier to integer") end
  if #precision > 2 then fail("precision specifier exceeds maximum of 99") end
  if number > list.n then fail(format("index %d out of range", number - 1)) end
  return written(list[number], precision == "" and "6" or precision), after
end

fn["format"] = function(pattern, list)
  local parts, at, number = {}, 1, 1
  while true do
    local percent = pattern:find("%", at, true)
    parts[#parts + 1] = pattern:sub(at, (percent or 0) - 1)
    if not percent then return P.text.joined(parts, "") end
    if percent == #pattern then fail("unexpected end of format string") end
    if pattern:sub(percent + 1, percent + 1) == "%" then
      parts[#parts + 1], at = "%", percent + 2
    else
      parts[#parts + 1], at = clause(pattern, percent + 1, list, number)
      number = number + 1
    end
  end
end
