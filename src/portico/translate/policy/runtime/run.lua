-- Runs the program of one filter. Whatever fails here, the visitor does not come through by it: an expression that fails
-- refuses him where its rule might have stopped him, and any other failure ends with an error page.
local pcall, ipairs, type, getmetatable = pcall, ipairs, type, getmetatable
local load_text = loadstring

local FAILED, DENIED = 472, 403 -- 472: translate/replies.py
local TOKEN = "x-edge-policy"

local programs = {} -- compiled, by id; of replaced policies some are left, so the table is emptied when it is full
local count, MOST = 0, 20000

local function program_of(handle)
  local context = handle:filterContext()
  local id = context:get("id")
  local program = programs[id]
  if program then return program end
  if count >= MOST then programs, count = {}, 0 end
  program = assert(load_text(context:get("source"), "policy"))(P)
  programs[id], count = program, count + 1
  return program
end

local WAITED_FOR = 65536 -- bytes

-- In HTTP/2 Envoy ends a stream that it answers before its request has ended, and curl up to 7.88 then loses the answer
-- to whatever it posts. So a small body may come first; a visitor who never sends it ends by the time limits.
local function await_small_body(visit)
  local fields = visit.handle:headers()
  local length = tonumber(fields:get("content-length") or "")
  -- It cannot be had where it came while the visit waited for something else; then it is there.
  if length and length > 0 and length <= WAITED_FOR then pcall(visit.handle.body, visit.handle) end
end

--- Ends the visit with an answer; nothing behind this call runs. `own` where the endpoint's owner has worded it. The
--- rules of the response see none but those of custom-response, which come as "responded".
function P.respond(visit, status, headers, body, own)
  visit.ended = visit.ended or "answered"
  if visit.program.responds then visit:save() end
  if own then visit:note("answered", true) end
  await_small_body(visit)
  headers[":status"] = tostring(status)
  visit.handle:respond(headers, body or "")
end

--- Ends the visit with an error page of the edge's.
function P.refuse(visit, status)
  if visit.phase == "response" then return P.replace_response(visit, status) end
  P.respond(visit, status, {}, "")
end

--- Ends the visitor's connection; where HTTP is spoken that takes an answer.
function P.close(visit)
  visit.handle:streamInfo():drainConnectionUponCompletion()
  P.refuse(visit, DENIED)
end

local function is_failure(caught)
  return type(caught) == "table" and getmetatable(caught) == P.Failure
end

local function log(visit, place, words)
  visit.handle:logWarn("policy: " .. place .. ": " .. words)
end

-- What an expression's failure means for what it belongs to. Any other error is ours, and goes on.
local function failed(visit, of, caught)
  if not is_failure(caught) then error(caught, 0) end
  log(visit, of.place, caught.reason)
  visit:note("failed", of.place)
  if of.stops then
    if visit.phase == "connect" then P.close(visit) else P.refuse(visit, DENIED) end
    return true
  end
  return false
end

-- Whether the rule fires; and whether the visit has ended by its failure.
local function fires(visit, rule)
  if rule.continued then return visit.fired == rule.place, false end
  for _, condition in ipairs(rule.when) do
    local done, value = pcall(condition, visit)
    if not done then return false, failed(visit, rule, value) end
    if type(value) ~= "boolean" then return false, failed(visit, rule, P.failure("is no bool")) end
    if not value then return false, false end
  end
  return true, false
end

-- Runs a rule's actions in order; true where one of them has ended the visit, or the work of this filter.
local function act(visit, rule)
  visit.fired = rule.place
  visit:note("rule", rule.name ~= "" and rule.name or rule.place)
  for _, action in ipairs(rule.actions) do
    visit:note("action", action.type)
    local done, ended = pcall(action.act, visit, action)
    if not done then ended = failed(visit, action, ended) end
    if ended then return true end
  end
  return false
end

local function run_rules(visit, phase, rules)
  visit.phase = phase
  for _, rule in ipairs(rules) do
    local does, ended = fires(visit, rule)
    if ended or (does and act(visit, rule)) then return true end
  end
  return false
end

local function request(visit)
  local program = visit.program
  if program.restores then return end
  if not program.first then visit:load() end
  if visit.ended or P.forwarded(visit) then return end
  if run_rules(visit, "connect", program.connect) then return end
  if program.sign_ins and P.sign_in_path(visit, program.sign_ins) then return end
  if run_rules(visit, "request", program.request) then return end
  if program.responds or not program.last then visit:save() end
  if program.token then
    if program.signs_in then P.hide_sessions(visit) end
    P.drop_facts(visit)
    visit.handle:headers():replace(TOKEN, program.token)
    visit.handle:clearRouteCache()
  end
end

local function response(visit)
  local program = visit.program
  if program.restores then return P.restore_cache_control(visit.handle) end
  if not program.first then return end
  if program.signs_in then P.give_cookies(visit) end
  -- A visit that a policy has ended, or that never came as far as this, has no response of an upstream.
  if program.responds and visit:load() and visit.ended ~= "answered" then
    if visit.ended ~= "responded" then P.count_for_breakers(visit) end
    run_rules(visit, "response", program.response)
  end
  if program.compresses then P.settle_compression(visit) end
end

local function guarded(run, handle, broken)
  local visit
  local done, caught = pcall(function()
    visit = P.Visit.new(handle, program_of(handle))
    run(visit)
  end)
  if not done then
    handle:logErr("policy: " .. P.reason_of(caught))
    broken(handle)
  end
end

--- Envoy calls these two for each request and for its response.
function P.on_request(handle)
  guarded(request, handle, function()
    handle:streamInfo():dynamicMetadata():set("portico", "answered", false)
    handle:respond({[":status"] = tostring(FAILED)}, "")
  end)
end

function P.on_response(handle)
  guarded(response, handle, function() P.replace_body(handle, 500, {}, "The endpoint's policy failed.\n") end)
end

--- Puts an answer in the place of the upstream's.
function P.replace_body(handle, status, headers, body)
  -- The body first: while it comes, Envoy takes back everything that it had handed out before.
  local buffer = handle:body(true)
  buffer:setBytes(body)
  local fields = handle:headers()
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  for _, name in ipairs(names) do
    if name:sub(1, 1) ~= ":" then fields:remove(name) end
  end
  fields:replace(":status", tostring(status))
  for _, pair in ipairs(headers) do fields:add(pair[1], pair[2]) end
  fields:replace("content-length", tostring(#body))
end

function P.replace_response(visit, status)
  P.replace_body(visit.handle, status, {{"content-type", "text/plain; charset=utf-8"}}, "Denied by the endpoint's policy.\n")
  return true
end
