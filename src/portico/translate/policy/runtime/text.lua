-- Texts: CEL's own functions of them and those of its extension for strings. Positions count characters, from 0.
-- A character is a byte and the continuation bytes after it, so a text that is no UTF-8 has characters, too.
local fail, fn, List = P.fail, P.fn, P.List
local find, sub, byte, gsub, concat = string.find, string.sub, string.byte, string.gsub, table.concat
local CHARACTER = "[^\128-\191]"
local LONGEST = 1048576

local text = {}
P.text = text

--- Where each character begins, and behind them where the text ends; nil for ASCII, whose characters are its bytes.
local function begins(whole)
  if not find(whole, "[\128-\255]") then return nil, #whole end
  local places, n, at = {}, 0, find(whole, CHARACTER)
  if at ~= 1 then
    places[1], n = 1, 1
  end
  while at do
    n = n + 1
    places[n] = at
    at = find(whole, CHARACTER, at + 1)
  end
  places[n + 1] = #whole + 1
  return places, n
end

--- So many characters.
function text.size(whole)
  local _, n = begins(whole)
  return n
end

--- The characters from `from` to before `to`.
local function part(whole, places, from, to)
  if not places then return sub(whole, from + 1, to) end
  return sub(whole, places[from + 1], places[to + 1] - 1)
end

--- The texts of a table as one. Fails where it would be longer than a mebibyte: replacing multiplies.
local function joined(parts, between)
  local size = #between * math.max(#parts - 1, 0)
  for i = 1, #parts do
    size = size + #parts[i]
  end
  if size > LONGEST then fail("a text would be longer than 1 MiB") end
  return concat(parts, between)
end
text.joined = joined

fn["charAt"] = function(whole, at)
  local places, n = begins(whole)
  if at < 0 then fail("<string>.charAt(<pos>): <pos> is less than 0") end
  if at > n then fail("<string>.charAt(<pos>): <pos> is greater than <string>.size()") end
  return at == n and "" or part(whole, places, at, at + 1)
end

fn["substring"] = function(whole, from, to)
  local places, n = begins(whole)
  to = to or n
  if from < 0 then fail("<string>.substring(<start>): <start> is less than 0") end
  if to < from and to < n then fail("<string>.substring(<start>, <end>): <end> is less than <start>") end
  if from > n or to > n then
    fail("<string>.substring(<start>, <end>): <start> or <end> is greater than <string>.size()")
  end
  return part(whole, places, from, to)
end

fn["contains"] = function(whole, wanted)
  return find(whole, wanted, 1, true) ~= nil
end

fn["startsWith"] = function(whole, begin)
  return sub(whole, 1, #begin) == begin
end

fn["endsWith"] = function(whole, ending)
  return ending == "" or sub(whole, -#ending) == ending
end

-- The number of the character that begins at a byte.
local function number_of(places, n, at)
  if not places then return at - 1 end
  local low, high = 1, n + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if places[middle] < at then low = middle + 1 else high = middle end
  end
  return low - 1
end

local function in_text(at, n)
  if at < 0 or at > n then fail(("index out of range: %d"):format(at)) end
end

fn["indexOf"] = function(whole, wanted, from)
  local places, n = begins(whole)
  from = from or 0
  in_text(from, n)
  local at = find(whole, wanted, places and places[from + 1] or from + 1, true)
  return at and number_of(places, n, at) or -1
end

fn["lastIndexOf"] = function(whole, wanted, from)
  local places, n = begins(whole)
  if from then in_text(from, n) end
  local last = math.min(from and (places and places[from + 1] or from + 1) or #whole + 1, #whole - #wanted + 1)
  if last < 1 then return -1 end
  local mirrored = #whole - #wanted + 2 -- a begin and what it becomes where both texts are turned round add up to this
  local at = find(whole:reverse(), wanted:reverse(), mirrored - last, true)
  return at and number_of(places, n, mirrored - at) or -1
end

fn["lowerAscii"] = function(whole)
  return (gsub(whole, "[A-Z]", string.lower))
end

fn["upperAscii"] = function(whole)
  return (gsub(whole, "[a-z]", string.upper))
end

fn["reverse"] = function(whole)
  local places, n = begins(whole)
  if not places then return string.reverse(whole) end
  local parts = {}
  for i = n, 1, -1 do
    parts[n - i + 1] = sub(whole, places[i], places[i + 1] - 1)
  end
  return concat(parts)
end

-- The parts between separators, `most` of them where that is not negative.
local function divided(whole, between, most)
  local parts, at = {}, 1
  if most == 0 then return parts end
  if between == "" then
    local places, n = begins(whole)
    local last = most > 0 and math.min(most, n) or n
    for i = 1, last - 1 do
      parts[i] = part(whole, places, i - 1, i)
    end
    parts[math.max(last, 1)] = last > 0 and part(whole, places, last - 1, n) or ""
    return parts
  end
  while most < 0 or #parts < most - 1 do
    local from, to = find(whole, between, at, true)
    if not from then break end
    parts[#parts + 1] = sub(whole, at, from - 1)
    at = to + 1
  end
  parts[#parts + 1] = sub(whole, at)
  return parts
end

fn["split"] = function(whole, between, most)
  return List.new(divided(whole, between, most or -1))
end

fn["join"] = function(list, between)
  for i = 1, list.n do
    if type(list[i]) ~= "string" then P.no_overload("join", list[i]) end
  end
  return joined(list, between or "")
end

fn["replace"] = function(whole, old, new, most)
  most = most or -1
  if most == 0 then return whole end
  if old ~= "" then return joined(divided(whole, old, most < 0 and -1 or most + 1), new) end
  local places, n = begins(whole)
  local times = (most < 0 or most > n + 1) and n + 1 or most
  local parts = {}
  for i = 1, times do
    parts[2 * i - 1] = new
    parts[2 * i] = i <= n and part(whole, places, i - 1, i) or ""
  end
  if times < n then parts[#parts + 1] = part(whole, places, times, n) end
  return joined(parts, "")
end

-- Unicode's White_Space, beside that of ASCII, as they are in UTF-8.
local SPACES = {
  ["\194\160"] = true, ["\225\154\128"] = true, ["\226\128\168"] = true, ["\226\128\169"] = true,
  ["\226\128\175"] = true, ["\226\129\159"] = true, ["\227\128\128"] = true, ["\194\133"] = true,
}
for last = 128, 138 do
  SPACES["\226\128" .. string.char(last)] = true
end

local function is_space(whole, places, i)
  if not places then return find(sub(whole, i, i), "[\t-\r ]") ~= nil end
  local character = sub(whole, places[i], places[i + 1] - 1)
  return SPACES[character] or find(character, "^[\t-\r ]$") ~= nil
end

fn["trim"] = function(whole)
  local places, n = begins(whole)
  local from, to = 1, n
  while from <= to and is_space(whole, places, from) do
    from = from + 1
  end
  while to >= from and is_space(whole, places, to) do
    to = to - 1
  end
  return part(whole, places, from - 1, to)
end

local QUOTED = {
  ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\v"] = "\\v",
  ["\\"] = "\\\\", ['"'] = '\\"',
}

fn["strings.quote"] = function(whole)
  return '"' .. gsub(whole, '[\a\b\f\n\r\t\v\\"]', QUOTED) .. '"'
end

--- size() of anything that has one.
fn["size"] = function(value)
  if type(value) == "string" then return text.size(value) end
  if P.is_list(value) then return value.n end
  if P.is_map(value) then return #value.keys end
  if P.is_bytes(value) then return #value.bytes end
  P.no_overload("size", value)
end
