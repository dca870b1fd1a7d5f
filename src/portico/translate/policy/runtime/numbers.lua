-- Numbers as texts, and texts as numbers.
local format = string.format

local numbers = {}
P.numbers = numbers

-- printf rounds a number half-way between two to the even digit; where only the other one reads as it again.
local function rounded_up(written)
  return (written:gsub("%de", function(last) return string.char(last:byte() + 1) .. "e" end))
end

-- The shortest digits that read as the same number: sign, digits, and the power of ten of the first one.
local function shortest(number)
  local least = math.abs(number) < 2.3e-308 and 0 or 14 -- what is that small has fewer digits than 15
  for precision = least, 16 do
    local written = format("%." .. precision .. "e", number)
    if tonumber(written) ~= number and written:find("[02468]e") then written = rounded_up(written) end
    if tonumber(written) == number then
      local sign, first, rest, power = written:match("^(-?)(%d)%.?(%d*)e([+-]%d+)$")
      return sign, (first .. rest):gsub("0+$", ""), tonumber(power)
    end
  end
end

local function special(number)
  if number ~= number then return "nan" end
  if number == math.huge then return "inf" end
  if number == -math.huge then return "-inf" end
  if number == 0 then return 1 / number < 0 and "-0" or "0" end
end

-- Plain where the first digit's power is from -4 to below `limit`, else with an exponent.
local function written(number, limit)
  local known = special(number)
  if known then return known end
  local sign, digits, power = shortest(number)
  if power < -4 or power >= limit then
    local rest = digits:sub(2)
    return format("%s%s%se%s%02d", sign, digits:sub(1, 1), rest ~= "" and "." .. rest or "", power < 0 and "-" or "+",
      math.abs(power))
  end
  if power < 0 then return sign .. "0." .. ("0"):rep(-power - 1) .. digits end
  local whole = digits:sub(1, power + 1)
  local rest = digits:sub(power + 2)
  return sign .. whole .. ("0"):rep(power + 1 - #whole) .. (rest ~= "" and "." .. rest or "")
end

--- A double as string() gives it: the shortest digits, with an exponent from a million on.
function numbers.of_double(number)
  return written(number, 6)
end

--- A double inside a longer text: 3.0, 1e+16.
function numbers.shown(number)
  local found = written(number, 16)
  return found:find("[.en]") and found or found .. ".0"
end

--- A number that may be either: a whole one is an int.
function numbers.of_number(number)
  return P.is_whole(number) and format("%d", number) or numbers.of_double(number)
end
