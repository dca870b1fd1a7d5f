-- Timestamps and durations. Both count seconds and nanoseconds apart: together they are more than a number holds.
local fail, fn, floor, format = P.fail, P.fn, math.floor, string.format
local DAY, BILLION = 86400, 1000000000
local FIRST, LAST = -62135596800, 253402300799 -- the years 1 to 9999
local LONGEST = 315576000000 -- 10,000 years, as durations of protobuf

local LONGEST_BETWEEN = 9223372035 -- 64 bits of nanoseconds

local time = {}
P.time = time

-- Days since 1970 of a date of the Gregorian calendar, and back: eras of 400 years that begin in March.
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = floor(year / 400)
  local of_era = year - era * 400
  local of_year = floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + floor(of_era / 4) - floor(of_era / 100) + of_year - 719468
end

local function date_of(days)
  days = days + 719468
  local era = floor(days / 146097)
  local of_era = days - era * 146097
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local shifted = floor((5 * of_year + 2) / 153)
  local month = (shifted + 2) % 12 + 1
  return year + era * 400 + (month <= 2 and 1 or 0), month, of_year - floor((153 * shifted + 2) / 5) + 1
end

local LENGTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_date(year, month, day)
  local leap = month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return month >= 1 and month <= 12 and day >= 1 and day <= LENGTHS[month] + (leap and 1 or 0)
end

local function timestamp(seconds, nanos)
  if seconds < FIRST or seconds > LAST then fail("timestamp overflow") end
  return P.timestamp(seconds, nanos)
end

-- Seconds of nanoseconds of any size and sign, carried so that both have one sign.
local function duration(seconds, nanos)
  if seconds > 0 and nanos < 0 then
    seconds, nanos = seconds - 1, nanos + BILLION
  elseif seconds < 0 and nanos > 0 then
    seconds, nanos = seconds + 1, nanos - BILLION
  end
  if seconds > LONGEST or seconds < -LONGEST then fail("duration overflow") end
  return P.duration(seconds, nanos)
end

local function nanos_of(fraction)
  return tonumber((fraction .. "000000000"):sub(1, 9))
end

local function offset_of(written)
  if written == "Z" or written == "z" then return 0 end
  local sign, hours, minutes = written:match("^([+-])(%d%d):?(%d%d)$")
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  return (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60)
end

--- A timestamp as RFC 3339 writes it; nil for any other text.
local function parsed(text)
  local year, month, day, hour, minute, second, rest =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt](%d%d):(%d%d):(%d%d)(.*)$")
  if not year then return nil end
  local fraction, zone = rest:match("^%.(%d+)(.*)$")
  local offset = offset_of(zone or rest)
  year, month, day, hour, minute, second =
    tonumber(year), tonumber(month), tonumber(day), tonumber(hour), tonumber(minute), tonumber(second)
  if not offset or not is_date(year, month, day) or hour > 23 or minute > 59 or second > 60 then return nil end
  local seconds = days_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset
  return timestamp(seconds, nanos_of(fraction or ""))
end

fn["timestamp"] = function(value)
  if type(value) == "number" then return timestamp(P.op.whole(value), 0) end
  if P.kind(value) == "google.protobuf.Timestamp" then return value end
  return parsed(P.op.text(value)) or fail("string to Timestamp conversion failed")
end

local UNITS = { h = 3600, m = 60, s = 1, ms = 1e-3, us = 1e-6, ns = 1e-9 }

local function length(text)
  local sign, rest = text:match("^([+-]?)(.+)$")
  if not sign then return nil end
  if rest == "0" then return P.duration(0, 0) end
  local seconds, nanos = 0, 0
  while rest ~= "" do
    local whole, fraction, unit, after = rest:match("^(%d*)%.?(%d*)([hmsun]s?)(.*)$")
    local worth = UNITS[unit]
    if not worth or whole .. fraction == "" then return nil end
    local parts = tonumber("0." .. fraction .. "0") * worth
    local units = tonumber("0" .. whole)
    local even = worth >= 1 and units * worth or floor(units * worth + 1e-10)
    local left = worth >= 1 and 0 or (units - floor(even / worth + 0.5)) * worth
    seconds = seconds + even
    nanos = nanos + floor((parts + left) * BILLION * 4 + 1e-4) / 4 -- abseil counts quarters
    rest = after
  end
  nanos = floor(nanos)
  seconds, nanos = seconds + floor(nanos / BILLION), nanos % BILLION
  if sign == "-" then return duration(0 - seconds, 0 - nanos) end
  return duration(seconds, nanos)
end

fn["duration"] = function(value)
  if P.kind(value) == "google.protobuf.Duration" then return value end
  return length(P.op.text(value)) or fail("string to Duration conversion failed")
end

--- A timestamp or a duration, and a duration.
function time.add(a, b)
  local seconds, nanos = a.seconds + b.seconds, a.nanos + b.nanos
  if nanos >= BILLION then seconds, nanos = seconds + 1, nanos - BILLION end
  if nanos <= -BILLION then seconds, nanos = seconds - 1, nanos + BILLION end
  if P.kind(a) == "google.protobuf.Duration" then return duration(seconds, nanos) end
  if nanos < 0 then seconds, nanos = seconds - 1, nanos + BILLION end
  return timestamp(seconds, nanos)
end

function time.negative(of)
  return P.duration(0 - of.seconds, 0 - of.nanos)
end

--- How long after `b` the timestamp `a` is.
function time.between(a, b)
  local seconds = a.seconds - b.seconds
  if seconds > LONGEST_BETWEEN or seconds < -LONGEST_BETWEEN then fail("duration overflow") end
  return duration(seconds, a.nanos - b.nanos)
end

-- Three digits, six, or nine.
local function fraction_text(nanos)
  if nanos == 0 then return "" end
  if nanos % 1000000 == 0 then return format(".%03d", nanos / 1000000) end
  if nanos % 1000 == 0 then return format(".%06d", nanos / 1000) end
  return format(".%09d", nanos)
end

--- string() of either.
function time.text(value)
  if P.kind(value) == "google.protobuf.Duration" then
    local sign = (value.seconds < 0 or value.nanos < 0) and "-" or ""
    return format("%s%d%ss", sign, math.abs(value.seconds), fraction_text(math.abs(value.nanos)))
  end
  local days = floor(value.seconds / DAY)
  local year, month, day = date_of(days)
  local of_day = value.seconds - days * DAY
  return format("%04d-%02d-%02dT%02d:%02d:%02d%sZ", year, month, day, floor(of_day / 3600),
    floor(of_day / 60) % 60, of_day % 60, fraction_text(value.nanos))
end

-- What a named zone adds at a moment: the compiler writes its changes into the program.
local function of_zone(zone, seconds)
  local low, high = 0, #zone.since
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if zone.since[middle] <= seconds then low = middle else high = middle - 1 end
  end
  return low == 0 and zone.before or zone.offsets[low]
end

local function zone_offset(zone, seconds)
  if type(zone) == "table" then return of_zone(zone, seconds) end
  if zone == nil or zone == "" or zone == "UTC" then return 0 end
  local sign, hours, minutes = zone:match("^([+-]?)(%d%d?):(%d%d)$")
  if not sign then fail("invalid timezone") end
  return (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60)
end

-- Days since 1970 and the second of the day, there.
local function there(moment, zone)
  local seconds = moment.seconds + zone_offset(zone, moment.seconds)
  local days = floor(seconds / DAY)
  return days, seconds - days * DAY
end

local function of_date(pick)
  return function(moment, zone)
    local days = there(moment, zone)
    return pick(days, date_of(days))
  end
end

fn["getFullYear"] = of_date(function(_, year) return year end)
fn["getMonth"] = of_date(function(_, _, month) return month - 1 end)
fn["getDate"] = of_date(function(_, _, _, day) return day end)
fn["getDayOfMonth"] = of_date(function(_, _, _, day) return day - 1 end)
fn["getDayOfWeek"] = of_date(function(days) return (days + 4) % 7 end)
fn["getDayOfYear"] = of_date(function(days, year) return days - days_of(year, 1, 1) end)

local function toward_zero(number)
  return (number < 0 and -floor(-number) or floor(number)) + 0
end

-- Of a duration all that it has of the unit, of a timestamp what its clock shows.
local function of_clock(unit, most)
  return function(value, zone)
    if P.kind(value) == "google.protobuf.Duration" then return toward_zero(value.seconds / unit) end
    local _, of_day = there(value, zone)
    return floor(of_day / unit) % most
  end
end

fn["getHours"] = of_clock(3600, 24)
fn["getMinutes"] = of_clock(60, 60)
fn["getSeconds"] = of_clock(1, 60)
fn["getMilliseconds"] = function(value)
  return toward_zero(value.nanos / 1000000)
end
