-- IP addresses as bytes, four or sixteen, in the order of the network; bytes compare as addresses do. What is none is nil.
local byte, char, concat, rep, sub = string.byte, string.char, table.concat, string.rep, string.sub
local floor = math.floor

local MAPPED = rep("\0", 10) .. "\255\255"

local function octet(digits)
  local value = #digits <= 3 and not digits:find("^0%d") and tonumber(digits)
  return value and value <= 255 and value
end

local function ipv4(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if not a then
    return nil
  end
  a, b, c, d = octet(a), octet(b), octet(c), octet(d)
  if a and b and c and d then
    return char(a, b, c, d)
  end
end

-- Groups between colons as bytes, and nil where one is none.
local function groups(text)
  local found = {}
  if text == "" then
    return ""
  end
  for group in (text .. ":"):gmatch("([^:]*):") do
    local value = #group <= 4 and group:find("^%x+$") and tonumber(group, 16)
    if not value then
      return nil
    end
    found[#found + 1] = char(floor(value / 256), value % 256)
  end
  return concat(found)
end

-- The last four bytes may be written as IPv4 (RFC 4291 2.2).
local function without_ipv4(text)
  local head, last = text:match("^(.*:)([^:]*%.[^:]*)$")
  if not head then
    return text
  end
  local four = ipv4(last)
  return four and ("%s%02x%02x:%02x%02x"):format(head, byte(four, 1, 4))
end

local function ipv6(text)
  local written = without_ipv4(text)
  if not written then
    return nil
  end
  local head, tail = written:match("^(.-)::(.*)$")
  local front, back = groups(head or written), groups(tail or "")
  if not front or not back then
    return nil
  end
  local missing = 16 - #front - #back
  if not head then
    return missing == 0 and front or nil
  end
  return missing >= 2 and front .. rep("\0", missing) .. back or nil
end

-- A scope (RFC 4007 11) says on which link an address is, and not which one it is.
local function without_scope(text)
  local plain, scope = text:match("^([^%%]*)%%(.*)$")
  if not plain then
    return text
  end
  return scope ~= "" and not scope:find("[%%/]") and plain or nil
end

local function trimmed(text)
  local first = text:find("%S")
  return first and text:match("^.*%S", first) or ""
end

-- No address and its scope are longer than this; the patterns above are for short texts.
local LONGEST = 128

local function bytes_of(text)
  if #text > LONGEST then
    return nil
  elseif not text:find(":", 1, true) then
    return ipv4(text)
  end
  local plain = without_scope(text)
  return plain and ipv6(plain)
end

-- The bytes of an address; an IPv4 address inside IPv6 (RFC 4291 2.5.5.2) is the IPv4 address.
local function address(text)
  local found = bytes_of(trimmed(text))
  if found and #found == 16 and sub(found, 1, 12) == MAPPED then
    return sub(found, 13)
  end
  return found
end
P.address = address

-- How many ones a mask such as 255.255.0.0 begins with; 0.0.255.255, its opposite, means the same. nil for other bits.
local function ones(mask)
  local bits, value = 0, 0
  for at = 1, 4 do
    value = value * 256 + byte(mask, at)
  end
  local front = value >= 2 ^ 31 or value == 0
  local seen = front and value or 2 ^ 32 - 1 - value
  while bits < 32 and floor(seen / 2 ^ (31 - bits)) % 2 == 1 do
    bits = bits + 1
  end
  return seen % 2 ^ (32 - bits) == 0 and bits or nil
end

local function length_of(text, first)
  local most = #first * 8
  if text == nil then
    return most
  elseif text:find("^%d+$") then
    local length = tonumber(text)
    return length <= most and length or nil
  end
  local mask = most == 32 and ipv4(text)
  return mask and ones(mask)
end

-- The first and the last address of a network, whatever its host bits; an address alone is a network of one, and a network
-- of IPv4 addresses inside IPv6 is that of the IPv4 addresses.
local function network(cidr)
  local written, length = trimmed(cidr):match("^([^/]*)/?(.*)$")
  local first = bytes_of(written)
  if not first or (length == "" and cidr:find("/", 1, true)) then
    return nil
  end
  length = length_of(length ~= "" and length or nil, first)
  if not length then
    return nil
  end
  if length >= 96 and sub(first, 1, 12) == MAPPED then
    first, length = sub(first, 13), length - 96
  end
  local whole, rest = floor(length / 8), length % 8
  if whole == #first then
    return first, first
  end
  local size = 2 ^ (8 - rest)
  local edge = byte(first, whole + 1)
  local low, head, left = edge - edge % size, sub(first, 1, whole), #first - whole - 1
  return head .. char(low) .. rep("\0", left), head .. char(low + size - 1) .. rep("\255", left)
end
P.network = network

--- Whether the address is in the network; what is neither is in none.
function P.in_network(ip, cidr)
  local found, first, last = address(ip), network(cidr)
  return found ~= nil and first ~= nil and #found == #first and first <= found and found <= last
end

-- Many networks at once. Each of `four` and `six` is {firsts, lasts, names}: ranges that do not touch each other, in
-- order, each with the network it is of (made by `networks_lua` in networks.py).
local Networks = {}
Networks.__index = Networks

function P.networks(ranges)
  return setmetatable(ranges, Networks)
end

--- The network that the address is in, as it was written, or nil.
function Networks:find(ip)
  local wanted = address(ip)
  local ranges = wanted and (#wanted == 4 and self.four or self.six)
  if not ranges then
    return nil
  end
  local firsts, low, high = ranges[1], 1, #ranges[1]
  while low <= high do
    local middle = floor((low + high) / 2)
    if firsts[middle] <= wanted then
      low = middle + 1
    else
      high = middle - 1
    end
  end
  return high > 0 and wanted <= ranges[2][high] and ranges[3][high] or nil
end
