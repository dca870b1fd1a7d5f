-- base64, hex, percent-encoding and UTF-8 as bytes. What cannot be decoded is nil here; who asks decides what that means.
local byte, char, concat, floor = string.byte, string.char, table.concat, math.floor
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift

local hex = {}
P.hex = hex

local OF_BYTE = {}
for value = 0, 255 do
  OF_BYTE[char(value)] = ("%02x"):format(value)
end

--- Lower case.
function hex.encode(text)
  return (text:gsub(".", OF_BYTE))
end

function hex.decode(text)
  if #text % 2 == 1 or text:find("%X") then
    return nil
  end
  return (text:gsub("..", function(pair)
    return char(tonumber(pair, 16))
  end))
end

local base64 = {}
P.base64 = base64

local STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local SAFE = STANDARD:sub(1, 62) .. "-_"

local function alphabet(letters)
  local letter_of, value_of = {}, {}
  for value = 0, 63 do
    letter_of[value] = letters:sub(value + 1, value + 1)
    value_of[byte(letters, value + 1)] = value
  end
  return letter_of, value_of
end

local LETTER, VALUE = alphabet(STANDARD)
local SAFE_LETTER, SAFE_VALUE = alphabet(SAFE)

local function encoded(data, letters, padding)
  local parts, n = {}, 0
  for at = 1, #data - 2, 3 do
    local one, two, three = byte(data, at, at + 2)
    n = n + 1
    parts[n] = letters[rshift(one, 2)] .. letters[bor(lshift(band(one, 3), 4), rshift(two, 4))]
      .. letters[bor(lshift(band(two, 15), 2), rshift(three, 6))] .. letters[band(three, 63)]
  end
  local left = #data % 3
  if left > 0 then
    local one, two = byte(data, #data - left + 1, #data)
    local last = left == 2 and letters[lshift(band(two, 15), 2)] or padding
    parts[n + 1] = letters[rshift(one, 2)] .. letters[bor(lshift(band(one, 3), 4), rshift(two or 0, 4))] .. last .. padding
  end
  return concat(parts)
end

-- `text` has letters of the alphabet only and no padding.
local function decoded(text, values)
  local parts, n = {}, 0
  for at = 1, #text - 3, 4 do
    local one, two, three, four = byte(text, at, at + 3)
    one, two, three, four = values[one], values[two], values[three], values[four]
    n = n + 1
    parts[n] = char(
      bor(lshift(one, 2), rshift(two, 4)),
      bor(lshift(band(two, 15), 4), rshift(three, 2)),
      bor(lshift(band(three, 3), 6), four)
    )
  end
  local left = #text % 4
  if left > 0 then
    local one, two, three = byte(text, #text - left + 1, #text)
    one, two, three = values[one], values[two], values[three]
    parts[n + 1] = char(bor(lshift(one, 2), rshift(two, 4)))
    if three then
      parts[n + 2] = char(bor(lshift(band(two, 15), 4), rshift(three, 2)))
    end
  end
  return concat(parts)
end

--- With padding (RFC 4648 4).
function base64.encode(data)
  return encoded(data, LETTER, "=")
end

--- Strict: its own letters, whole, and padded as it must be.
function base64.decode(text)
  local letters, padding = text:match("^([%w+/]*)(=*)$")
  if not letters or (#letters + #padding) % 4 ~= 0 or #letters % 4 == 1 or #padding > 2 then
    return nil
  end
  return decoded(letters, VALUE)
end

--- For URLs and tokens (RFC 4648 5, RFC 7515 2): without padding.
function base64.encode_safe(data)
  return encoded(data, SAFE_LETTER, "")
end

function base64.decode_safe(text)
  if #text % 4 == 1 or text:find("[^%w_-]") then
    return nil
  end
  return decoded(text, SAFE_VALUE)
end

local utf8 = {}
P.utf8 = utf8

-- Length of the character that begins with this byte, and the bounds of its second byte (Unicode 3.9, table 3-7).
local function form(lead)
  if lead < 0x80 then
    return 1
  elseif lead < 0xC2 or lead > 0xF4 then
    return 0
  elseif lead < 0xE0 then
    return 2, 0x80, 0xBF
  elseif lead < 0xF0 then
    return 3, lead == 0xE0 and 0xA0 or 0x80, lead == 0xED and 0x9F or 0xBF
  end
  return 4, lead == 0xF0 and 0x90 or 0x80, lead == 0xF4 and 0x8F or 0xBF
end

-- The end of the character at `at`, and whether it is one; of what is none, the end of what one U+FFFD stands for.
local function character(text, at)
  local length, low, high = form(byte(text, at))
  if length < 2 then
    return at, length == 1
  end
  for place = at + 1, at + length - 1 do
    local next_byte = byte(text, place)
    if not next_byte or next_byte < low or next_byte > high then
      return place - 1, false
    end
    low, high = 0x80, 0xBF
  end
  return at + length - 1, true
end

-- Where the first byte is that belongs to no character, or nil.
local function fault(text)
  local at = text:find("[\128-\255]")
  while at do
    local last, whole = character(text, at)
    if not whole then
      return at
    end
    at = text:find("[\128-\255]", last + 1)
  end
end

function utf8.valid(text)
  return not fault(text)
end

--- The text with U+FFFD for all that is no character, as the Unicode standard (3.9) recommends it.
function utf8.replaced(text)
  local at = fault(text)
  if not at then
    return text
  end
  local parts = { text:sub(1, at - 1) }
  while at <= #text do
    local last, whole = character(text, at)
    parts[#parts + 1] = whole and text:sub(at, last) or "\239\191\189"
    at = last + 1
  end
  return concat(parts)
end

--- The bytes of one code point; what is no character (half of a surrogate pair) becomes U+FFFD.
function utf8.char(point)
  if point < 0x80 then
    return char(point)
  elseif point < 0x800 then
    return char(0xC0 + floor(point / 64), 0x80 + point % 64)
  elseif (point >= 0xD800 and point <= 0xDFFF) or point > 0x10FFFF then
    return "\239\191\189"
  elseif point < 0x10000 then
    return char(0xE0 + floor(point / 4096), 0x80 + floor(point / 64) % 64, 0x80 + point % 64)
  end
  return char(
    0xF0 + floor(point / 262144),
    0x80 + floor(point / 4096) % 64,
    0x80 + floor(point / 64) % 64,
    0x80 + point % 64
  )
end

local percent = {}
P.percent = percent

local function escaped(letter)
  return ("%%%02X"):format(byte(letter))
end

--- Everything but letters, digits and `-_.~` (RFC 3986 2.3).
function percent.encode(text)
  return (text:gsub("[^%w_.~-]", escaped))
end

--- White space and controls alone: what would end a request's line, or the word of it that is the URL.
function percent.graphic(text)
  return (text:gsub("[%z\1-\32\127]", escaped))
end

--- What is no escape stays as it is.
function percent.bytes(text)
  return (text:gsub("%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end))
end

function percent.decode(text)
  return text:find("%", 1, true) and utf8.replaced(percent.bytes(text)) or text
end

--- `a=b&c` as {{"a", "b"}, {"c", ""}} (application/x-www-form-urlencoded).
function percent.pairs(query)
  local found = {}
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=?(.*)$")
    found[#found + 1] = { percent.decode((name:gsub("+", " "))), percent.decode((value:gsub("+", " "))) }
  end
  return found
end

--- One name or value of a form.
function percent.form(text)
  return (percent.encode(text):gsub("%%20", "+"))
end

local MEANING = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- For HTML, between tags and within quotes.
function P.html(text)
  return (text:gsub("[&<>\"']", MEANING))
end
