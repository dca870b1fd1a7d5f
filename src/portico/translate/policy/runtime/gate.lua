-- What policies need of the world outside is asked of the gate (portico/gate), and its answers are kept for a while.
local tostring, error, ipairs, pairs = tostring, error, ipairs, pairs
local gate = {}
P.gate = gate

local function asked(visit, path, question, milliseconds)
  return visit.handle:httpCall("gate", {
    [":method"] = "POST", [":path"] = path, [":authority"] = "gate", ["content-type"] = "application/json",
  }, question, milliseconds)
end

--- The gate's answer, as P.json.decode gives it. `question` is JSON. An error where there is none: the visit ends then.
--- `again`: whether it may be asked twice, where the gate has died over it. The second time waits for the next one.
function gate.ask(visit, path, question, milliseconds, again)
  -- What comes of a body during the question could not be asked for afterwards.
  if visit.program.reads_body and visit.phase == "request" then visit.handle:body() end
  local headers, body = asked(visit, path, question, milliseconds)
  if again and headers[":status"] == "503" then headers, body = asked(visit, path, question, milliseconds) end
  local answer = headers[":status"] == "200" and body and P.json.decode(body)
  if not answer then error("the gate answered " .. tostring(headers[":status"]) .. " to " .. path, 0) end
  return answer.values
end

--- Seconds since 1970.
function gate.now(visit)
  return visit.handle:timestamp() / 1000
end

--- A map of the pairs that have a value; texts and lists that are empty are left out.
function gate.table(pairs_)
  local map = P.Map.new()
  for _, pair in ipairs(pairs_) do
    local value = pair[2]
    local empty = value == nil or value == "" or (P.is_list(value) and value.n == 0)
      or (P.is_map(value) and P.Map.size(value) == 0)
    if not empty then P.Map.set(map, pair[1], value) end
  end
  return map
end

local Answers = {}
Answers.__index = Answers

--- Answers that are good until some time: at most twice `most`, the least asked for go first.
function gate.answers(most)
  return setmetatable({young = {}, old = {}, count = 0, most = most}, Answers)
end

function Answers:get(key, now)
  local entry = self.young[key] or self.old[key]
  if entry and entry.till > now then return entry.value end
end

function Answers:keep(key, value, till)
  if self.count >= self.most then self.young, self.old, self.count = {}, self.young, 0 end
  if not self.young[key] then self.count = self.count + 1 end
  self.young[key] = {value = value, till = till}
end

-- Fields of a reply as Envoy takes them: a name that comes twice has a table.
local function fields_of(list)
  local fields = {}
  for i = 1, list.n do
    local name, value = list[i][1], list[i][2]
    local before = fields[name]
    if type(before) == "table" then before[#before + 1] = value
    else fields[name] = before and {before, value} or value end
  end
  return fields
end

--- Ends the visit with the response that the gate has made.
function gate.reply(visit, answer)
  P.respond(visit, answer.status, fields_of(answer.headers), answer.body, true)
  return true
end

--- Ends the visit with a page that was made with the policy.
function gate.page(visit, page)
  if visit.phase == "response" then
    local headers = {}
    for name, value in pairs(page.headers) do headers[#headers + 1] = {name, value} end
    P.replace_body(visit.handle, page.status, headers, page.body)
  else
    local fields = {}
    for name, value in pairs(page.headers) do fields[name] = value end
    P.respond(visit, page.status, fields, page.body, true)
  end
  return true
end
