-- circuit-breaker: the window is a ring of ten parts, kept with the program, one for each worker.
local floor = math.floor
local PARTS = 10
local breakers = {} -- by endpoint and place: those that a request has passed

local function state_of(action)
  local state = action.state
  if not state then
    state = {open_until = 0, parts = {}}
    action.state = state
  end
  return state
end

-- Requests and failures of the window.
local function totals(action, now)
  local length = action.window / PARTS
  local newest, all, failed = floor(now / length), 0, 0
  for _, part in pairs(state_of(action).parts) do
    if part.number > newest - PARTS then all, failed = all + part.all, failed + part.failed end
  end
  return all, failed
end

local function count(action, now, failure)
  local number = floor(now / (action.window / PARTS))
  local parts = state_of(action).parts
  local part = parts[number % PARTS]
  if not part or part.number ~= number then
    part = {number = number, all = 0, failed = 0}
    parts[number % PARTS] = part
  end
  part.all = part.all + 1
  if failure then part.failed = part.failed + 1 end
end

P.action["circuit-breaker"] = function(visit, action)
  local now = visit.handle:timestamp() / 1000
  if state_of(action).open_until > now and action.enforce then
    P.respond(visit, 503, {["retry-after"] = tostring(math.ceil(state_of(action).open_until - now))}, "", true)
    return true
  end
  local name = visit.program.endpoint.url .. " " .. action.place
  breakers[name] = action
  visit:watch(name)
  return false
end

local function judge(action, now)
  local state, all, failed = state_of(action), totals(action, now)
  if all >= action.volume and failed / all >= action.share then
    state.open_until, state.parts = now + action.tripped, {}
  end
end

--- Counts the response for the breakers that its request has passed.
function P.count_for_breakers(visit)
  if visit.watched.n == 0 then return end
  local now = visit.handle:timestamp() / 1000
  local failure = tonumber(visit.handle:headers():get(":status")) >= 500
  for i = 1, visit.watched.n do
    local action = breakers[visit.watched[i]]
    if action then
      count(action, now, failure)
      judge(action, now)
    end
  end
end
