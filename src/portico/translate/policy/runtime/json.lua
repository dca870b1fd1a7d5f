-- JSON (RFC 8259), strict: what visitors and other services send is read here, so size and depth have bounds.
local byte, find, match, sub, concat = string.byte, string.find, string.match, string.sub, table.concat

local LONGEST, DEEPEST = 4194304, 64
local ESCAPES = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local json = {}
P.json = json

local value_at -- of what holds values, below

local function past_space(text, at)
  return find(text, "[^ \t\r\n]", at) or #text + 1
end

-- A number and where it ends, or nil.
local function number_at(text, at)
  local _, last = find(text, "^-?%d+", at)
  if not last or find(text, "^-?0%d", at) then return nil end
  local _, fraction = find(text, "^%.%d+", last + 1)
  last = fraction or last
  local _, exponent = find(text, "^[eE][+-]?%d+", last + 1)
  last = exponent or last
  return tonumber(sub(text, at, last)), last + 1
end

-- The character of `\uXXXX`, or of two that are halves of one, and where it ends. A half alone is U+FFFD.
local function unicode_at(text, at)
  local digits = match(text, "^%x%x%x%x", at)
  if not digits then return nil end
  local point = tonumber(digits, 16)
  if point < 0xD800 or point > 0xDBFF then return P.utf8.char(point), at + 4 end
  local low = match(text, "^\\u([dD][c-fC-F]%x%x)", at + 4)
  if not low then return P.utf8.char(point), at + 4 end
  return P.utf8.char(0x10000 + (point - 0xD800) * 1024 + tonumber(low, 16) - 0xDC00), at + 10
end

-- A text, from behind its first quote, and where it ends, or nil.
local function text_at(text, at)
  local parts, n = {}, 0
  while true do
    local stop = find(text, '[%z\1-\31\\"]', at)
    local letter = stop and sub(text, stop, stop)
    if letter ~= '"' and letter ~= "\\" then return nil end
    n = n + 1
    parts[n] = sub(text, at, stop - 1)
    if letter == '"' then return n == 1 and parts[1] or concat(parts), stop + 1 end
    local escape = sub(text, stop + 1, stop + 1)
    local meant, after = ESCAPES[escape], stop + 2
    if escape == "u" then meant, after = unicode_at(text, after) end
    if not meant then return nil end
    n = n + 1
    parts[n] = meant
    at = after
  end
end

-- After an item: what stands behind a comma, or false and what stands behind the end; nil where neither is there.
local function after_item(text, at, ending)
  at = past_space(text, at)
  local letter = byte(text, at)
  if letter == 44 then return true, past_space(text, at + 1) end
  if letter == ending then return false, at + 1 end
end

local function list_at(text, at, depth)
  local items, n = {}, 0
  at = past_space(text, at)
  if byte(text, at) == 93 then return P.List.new(items, 0), at + 1 end
  local more = true
  while more do
    local item
    item, at = value_at(text, at, depth + 1)
    if item == nil then return nil end
    n = n + 1
    items[n] = item
    more, at = after_item(text, at, 93)
  end
  if more == false then return P.List.new(items, n), at end
end

local function map_at(text, at, depth)
  local map = P.Map.new()
  at = past_space(text, at)
  if byte(text, at) == 125 then return map, at + 1 end
  local more = true
  while more do
    if byte(text, at) ~= 34 then return nil end
    local key, item
    key, at = text_at(text, at + 1)
    at = key and past_space(text, at)
    if not key or byte(text, at) ~= 58 then return nil end
    item, at = value_at(text, past_space(text, at + 1), depth + 1)
    if item == nil then return nil end
    P.Map.set(map, key, item)
    more, at = after_item(text, at, 125)
  end
  if more == false then return map, at end
end

-- A value and what stands behind it, or nil.
function value_at(text, at, depth)
  local letter = sub(text, at, at)
  if depth > DEEPEST then return nil end
  if letter == '"' then return text_at(text, at + 1) end
  if letter == "{" then return map_at(text, at + 1, depth) end
  if letter == "[" then return list_at(text, at + 1, depth) end
  if letter == "t" and find(text, "^true", at) then return true, at + 4 end
  if letter == "f" and find(text, "^false", at) then return false, at + 5 end
  if letter == "n" and find(text, "^null", at) then return P.null, at + 4 end
  return number_at(text, at)
end

--- The value of a text, or nil where it is no JSON, longer than 4 MiB, or nested deeper than 64 values.
function json.decode(text)
  if #text > LONGEST or not P.utf8.valid(text) then return nil end
  local value, at = value_at(text, past_space(text, 1), 0)
  if value ~= nil and past_space(text, at) > #text then return value end
end

local QUOTED = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}
for code = 0, 31 do
  local letter = string.char(code)
  QUOTED[letter] = QUOTED[letter] or ("\\u%04x"):format(code)
end

local function quoted(text)
  return '"' .. text:gsub('[%z\1-\31\\"]', QUOTED) .. '"'
end

-- The shortest digits that are the number again; a whole one is written out.
local function number_text(number)
  if number ~= number or number - number ~= 0 then P.fail("this value has no JSON") end
  if number == 0 then return "0" end
  if number % 1 == 0 and number > -2 ^ 63 and number < 2 ^ 63 then return ("%.0f"):format(number) end
  -- 15 digits are exact, but for the smallest numbers, which have fewer.
  for digits = number < 1e-300 and number > -1e-300 and 1 or 15, 16 do
    local text = ("%%.%dg"):format(digits):format(number)
    if tonumber(text) == number then return text end
  end
  return ("%.17g"):format(number)
end

local write -- of what holds values, below

local function write_list(list, parts, depth)
  parts[#parts + 1] = "["
  for at = 1, list.n do
    if at > 1 then parts[#parts + 1] = "," end
    write(list[at], parts, depth)
  end
  parts[#parts + 1] = "]"
end

local function write_map(map, parts, depth)
  local separator = "{"
  for key, item in P.Map.each(map) do
    parts[#parts + 1] = separator
    parts[#parts + 1] = quoted(type(key) == "number" and number_text(key) or tostring(key))
    parts[#parts + 1] = ":"
    write(item, parts, depth)
    separator = ","
  end
  parts[#parts + 1] = separator == "{" and "{}" or "}"
end

-- As Python's isoformat writes it.
local function timestamp_text(time)
  local text = os.date("!%Y-%m-%dT%H:%M:%S", time.seconds)
  local micros = math.floor(time.nanos / 1000)
  return text .. (micros > 0 and (".%06d"):format(micros) or "") .. "Z"
end

local function other_text(value, kind)
  if value == P.null then return "null" end
  if kind == "boolean" then return tostring(value) end
  if P.is_bytes(value) then return quoted(P.base64.encode(value.bytes)) end
  local class = getmetatable(value)
  if class == P.Timestamp then return quoted(timestamp_text(value)) end
  if class == P.Duration then return quoted(("%gs"):format(value.seconds + value.nanos / 1e9)) end
  P.fail("this value has no JSON")
end

function write(value, parts, depth)
  local kind = type(value)
  if depth > DEEPEST * 2 then P.fail("this value has no JSON") end
  if kind == "string" then
    parts[#parts + 1] = quoted(value)
  elseif kind == "number" then
    parts[#parts + 1] = number_text(value)
  elseif P.is_list(value) then
    write_list(value, parts, depth + 1)
  elseif P.is_map(value) then
    write_map(value, parts, depth + 1)
  else
    parts[#parts + 1] = other_text(value, kind)
  end
end

--- A value as compact JSON; bytes are base64, times are text. What has none is a failure.
function json.encode(value)
  local parts = {}
  write(value, parts, 0)
  return concat(parts)
end
