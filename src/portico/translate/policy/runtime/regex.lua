-- Regular expressions in time linear in the text, whatever visitors send. Programs are compiled by regular_expressions.py:
-- `code` has four numbers for each instruction (kind, two arguments, what follows), over bytes. Whether a text matches is
-- found by an automaton whose states are made when they are first needed; where it matches, by Pike's machine
-- (https://swtch.com/~rsc/regexp/regexp2.html), which prefers the leftmost match and the first alternative.
local new_table = require("table.new")
local byte, find, sub, concat = string.byte, string.find, string.sub, table.concat

local regex = {}
P.regex = regex

local BYTE, SPLIT, SAVE, LOOK, TABLE = 1, 2, 3, 4, 5
local TEXT_BEGIN, TEXT_END, LINE_BEGIN, LINE_END, BOUNDARY = 1, 2, 3, 4, 5

-- Kinds of neighbours, as far as they matter between two characters.
local EDGE, NEWLINE, WORD, OTHER = 0, 1, 2, 3
local KIND = {}
for code = 0, 255 do
  KIND[code] = code == 10 and NEWLINE or string.char(code):find("[%w_]") and WORD or OTHER
end

local function kind_at(text, at)
  return KIND[byte(text, at)] or EDGE
end

local function holds(look, before, after)
  if look == TEXT_BEGIN then return before == EDGE end
  if look == TEXT_END then return after == EDGE end
  if look == LINE_BEGIN then return before == EDGE or before == NEWLINE end
  if look == LINE_END then return after == EDGE or after == NEWLINE end
  return ((before == WORD) ~= (after == WORD)) == (look == BOUNDARY)
end

-- What follows the instruction at `place` after this byte, or nil.
local function after_byte(program, place, value)
  local code = program.code
  if code[place] == BYTE then
    return value >= code[place + 1] and value <= code[place + 2] and code[place + 3] or nil
  end
  local rows = program.tables[code[place + 1]]
  for at = 1, #rows, 3 do
    if value < rows[at] then return nil end
    if value <= rows[at + 1] then return rows[at + 2] end
  end
end

-- The automaton

-- What all states of a program may weigh, in instructions; then they are made anew.
local MOST = 20000

local function forget(program)
  program.states, program.weight, program.forgotten = {}, 0, program.forgotten + 1
end

-- The state in which the instructions `places`, in order, wait behind a neighbour.
local function state_of(program, places, before)
  local key = concat(places, ",") .. ":" .. before
  local state = program.states[key]
  if state then return state end
  if program.weight > MOST then forget(program) end
  -- What follows by class is an array from the beginning: LuaJIT's traces are made for one layout of a table.
  local follows = new_table(#program.samples + 1, 0)
  state = { places = places, before = before, idle = #places == 0, follows = follows }
  program.states[key] = state
  program.weight = program.weight + #places + #program.samples + 32
  return state
end

-- The instructions for bytes that are reached from `open` between two neighbours; `true` where that is a match.
local function reached(program, open, before, after)
  local code, seen, found = program.code, {}, {}
  local depth = #open
  while depth > 0 do
    local place = open[depth]
    local kind = code[place]
    depth = depth - 1
    if not seen[place] then
      seen[place] = true
      if kind == SPLIT then
        open[depth + 1], open[depth + 2] = code[place + 1], code[place + 2]
        depth = depth + 2
      elseif kind == SAVE or kind == LOOK and holds(code[place + 1], before, after) then
        depth = depth + 1
        open[depth] = code[place + 3]
      elseif kind == BYTE or kind == TABLE then
        found[#found + 1] = place
      elseif kind ~= LOOK then
        return true
      end
    end
  end
  return found
end

-- A match begins where a character does.
local function begins(value)
  return not value or value < 0x80 or value >= 0xC0
end

-- What a state becomes with a byte of `class`, or with the end: a state, true for a match, false where none can come.
local function advanced(program, state, class)
  local value = program.samples[class + 1]
  local after = value and program.kinds[class + 1] or EDGE
  local open = {}
  for at, place in ipairs(state.places) do
    open[at] = place
  end
  if begins(value) and (not program.anchored or state.before == EDGE) then open[#open + 1] = program.start end
  local found = reached(program, open, state.before, after)
  local following = false
  if found == true then
    following = true
  elseif value then
    local places, seen = {}, {}
    for _, place in ipairs(found) do
      local behind = after_byte(program, place, value)
      if behind and not seen[behind] then
        seen[behind] = true
        places[#places + 1] = behind
      end
    end
    table.sort(places)
    following = (#places > 0 or not program.anchored) and state_of(program, places, after)
  end
  state.follows[class] = following
  return following
end

local search -- by Pike's machine, below

-- Where a match may begin at the earliest, or nil.
local function candidate(program, text, at)
  if program.prefix then return (find(text, program.prefix, at, true)) end
  if program.first then return (find(text, program.first, at)) end
  return at
end

-- Goes on while states are there: the last state, where it stands, and the last place at which nothing had begun. Alone in
-- a function, this loop stays one that LuaJIT compiles, whatever else has to be done between.
local function walk(state, classes, text, at, idle)
  for place = at, #text do
    if state.idle then idle = place end
    local following = state.follows[byte(classes, byte(text, place) + 1)]
    if not following or following == true then return state, place, idle end
    state = following
  end
  return state, #text + 1, state.idle and #text + 1 or idle
end

-- Whether there is a match from `from` on, and a place before which none begins: nothing had begun when the automaton
-- was there. A text that needs more states than may be kept is left to the other machine.
local function scan(program, text, from)
  local at = candidate(program, text, from)
  if not at then return false end
  local classes, forgotten, idle = program.classes, program.forgotten, at
  local before = at == 1 and EDGE or program.kinds[byte(classes, byte(text, at - 1) + 1) + 1]
  local state = state_of(program, {}, before)
  while true do
    state, at, idle = walk(state, classes, text, at, idle)
    local class = at <= #text and byte(classes, byte(text, at) + 1) or #program.samples
    local following = state.follows[class]
    if following == nil then following = advanced(program, state, class) end
    if following == true or following == false then return following, idle end
    if program.forgotten > forgotten + 1 then return search(program, text, idle) ~= nil, idle end
    state, at = following, at + 1
  end
end

--- Whether the program matches anywhere in the text.
function regex.matches(program, text)
  if program.literal then return find(text, program.literal, 1, true) ~= nil end
  return (scan(program, text, 1))
end

-- Pike's machine

-- A copy of captures; LuaJIT compiles this, and not unpack.
local function copied(captures, slots)
  local copy = {}
  for slot = 1, slots do
    copy[slot] = captures[slot]
  end
  return copy
end

-- Adds what is reached from `place` without a byte, most wanted first. Captures are copied where they change.
local function add(vm, list, place, captures, at, before, after)
  local code, marks, stamp = vm.code, vm.marks, vm.stamp
  local places, held, depth = vm.places, vm.held, 1
  places[1], held[1] = place, captures
  while depth > 0 do
    place, captures = places[depth], held[depth]
    depth = depth - 1
    if marks[place] ~= stamp then
      marks[place] = stamp
      local kind = code[place]
      if kind == SPLIT then
        places[depth + 1], held[depth + 1] = code[place + 2], captures
        places[depth + 2], held[depth + 2] = code[place + 1], captures
        depth = depth + 2
      elseif kind == SAVE then
        local kept = copied(captures, vm.slots)
        kept[code[place + 1]] = at
        depth = depth + 1
        places[depth], held[depth] = code[place + 3], kept
      elseif kind ~= LOOK then
        list.n = list.n + 1
        list[list.n], list.held[list.n] = place, captures
      elseif holds(code[place + 1], before, after) then
        depth = depth + 1
        places[depth], held[depth] = code[place + 3], captures
      end
    end
  end
end

-- Takes all threads over a byte into `following`; the captures of a match, which ends those that are less wanted.
local function step(vm, threads, following, text, at)
  local program, value = vm.program, byte(text, at)
  local before, after = kind_at(text, at), kind_at(text, at + 1)
  following.n = 0
  vm.stamp = vm.stamp + 1
  for i = 1, threads.n do
    local place, captures = threads[i], threads.held[i]
    local kind = vm.code[place]
    if kind ~= BYTE and kind ~= TABLE then
      return captures
    elseif value then
      local behind = after_byte(program, place, value)
      if behind then add(vm, following, behind, captures, at + 1, before, after) end
    end
  end
end

-- What a search needs, kept for the next one: a replacement searches often.
local function machine(program)
  local vm = program.machine
  if not vm then
    vm = {
      program = program, code = program.code, slots = 2 * program.groups + 2,
      marks = {}, stamp = 0, places = {}, held = {}, work = 0,
    }
    program.machine = vm
  end
  vm.stamp = vm.stamp + 1
  return vm
end

-- The captures of the leftmost match that begins at `from` or later.
function search(program, text, from)
  local vm, found = machine(program), nil
  local threads, following = { n = 0, held = {} }, { n = 0, held = {} }
  local at, last = from, #text + 1
  while at <= last do
    if threads.n == 0 then
      if found or program.anchored and at > 1 then break end
      at = candidate(program, text, at)
      if not at then break end
    end
    if not found and begins(byte(text, at)) and not (program.anchored and at > 1) then
      local before = at > 1 and kind_at(text, at - 1) or EDGE
      add(vm, threads, program.start, { at }, at, before, kind_at(text, at))
    end
    local matched = step(vm, threads, following, text, at)
    if matched then
      found = copied(matched, vm.slots)
      found[2] = at
    end
    threads, following = following, threads
    at = at + 1
  end
  vm.work = vm.work + (at or last) - from
  return found
end

--- Begin and end (behind it) of the leftmost match from `from` on, then of each group, nil for one that took no part;
--- nil where there is none.
function regex.find(program, text, from)
  if program.literal then
    local first, last = find(text, program.literal, from, true)
    return first and { first, last + 1 }
  end
  local matched, idle = scan(program, text, from)
  return matched and search(program, text, idle) or nil
end

local function group_of(program, name)
  local number = name:find("^%d+$") and tonumber(name) or program.names[name]
  return number and number <= program.groups and number
end

-- A replacement as texts and numbers of groups. `$1`, `${1}`, `$name`, `${name}`; what no group has is nothing.
local function template(program, replacement)
  local parts, at = {}, 1
  local function take(before, name, after)
    parts[#parts + 1] = sub(replacement, at, before - 1)
    parts[#parts + 1] = group_of(program, name) or nil
    at = after
  end
  for before, name, after in replacement:gmatch("()%$({?[%w_]+}?)()") do
    local braced = name:match("^{([%w_]+)}$")
    local plain = name:match("^[%w_]+")
    if braced then
      take(before, braced, after)
    elseif plain then
      take(before, plain, before + 1 + #plain)
    end
  end
  parts[#parts + 1] = sub(replacement, at)
  return parts
end

local function fill(parts, text, captures, out)
  for _, part in ipairs(parts) do
    if type(part) == "number" then
      local first, stop = captures[2 * part + 1], captures[2 * part + 2]
      part = first and stop and sub(text, first, stop - 1) or ""
    end
    out[#out + 1] = part
  end
end

-- Each search is linear in the text, all of them together need not be: `a.*z|a` looks for its z behind every a. The bytes
-- that all may look at are so many times those of the text.
local MOST_LOOKS, FREE_LOOKS = 16, 65536

local function check_work(program, text)
  local vm = program.machine
  if vm and vm.work > MOST_LOOKS * #text + FREE_LOOKS then
    P.fail("the regular expression looks at this text too often")
  end
end

--- The text with every match replaced, and the list of what was matched. As in Go, an empty match behind another one is
--- none: `.*` is found once.
function regex.replace(program, text, replacement)
  local matches = P.List.new({}, 0)
  local parts, out = template(program, replacement), {}
  local at, from, behind = 1, 1, 0
  if program.machine then program.machine.work = 0 end
  while from <= #text + 1 do
    local captures = regex.find(program, text, from)
    if not captures then break end
    check_work(program, text)
    local first, stop = captures[1], captures[2]
    if stop > behind then
      out[#out + 1] = sub(text, at, first - 1)
      fill(parts, text, captures, out)
      matches.n = matches.n + 1
      matches[matches.n] = sub(text, first, stop - 1)
      at, behind = stop, stop
    end
    from = stop > from and stop or from + 1
  end
  out[#out + 1] = sub(text, at)
  return concat(out), matches
end

--- The program of a text that stands for itself.
function regex.literal(text)
  return { literal = text, groups = 0, names = {} }
end

--- The program that finds a text which is known only in the visit.
function regex.text(text)
  if text == "" then P.fail("there is no text to look for") end
  return regex.literal(text)
end

--- A compiled program, ready to run.
function regex.program(program)
  local kinds = {}
  for number, sample in ipairs(program.samples) do
    local kind = KIND[sample]
    local matters = kind == NEWLINE and program.lines or kind == WORD and program.words
    kinds[number] = matters and kind or OTHER
  end
  program.kinds, program.forgotten = kinds, 0
  forget(program)
  return program
end

--- The program of a pattern that is known only now. There is no compiler here, so it must be a text that stands for itself,
--- apart from backslashes before punctuation.
function regex.dynamic(pattern)
  local bare = pattern:gsub("\\%p", "")
  if find(bare, "[\\.+*?()|%[%]{}^$]") or find(pattern, "\\_", 1, true) then
    P.fail("a regular expression that is known only in the visit must be plain text, without \\.+*?()|[]{}^$")
  end
  return regex.literal((pattern:gsub("\\(%p)", "%1")))
end
