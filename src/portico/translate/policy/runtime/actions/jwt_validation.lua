-- jwt-validation: tokens that the gate has found good pass for a while without it.
local ipairs = ipairs
local MILLISECONDS = 25000
local BODIES = {POST = true, PUT = true, PATCH = true}
local known = P.gate.answers(2000)

local function without(prefix, value)
  if value and value:sub(1, #prefix):lower() == prefix:lower() then return value:sub(#prefix + 1) end
end

local function entry(map, name)
  if not P.is_map(map) then return nil end
  for key, value in P.Map.each(map) do
    if type(key) == "string" and key:lower() == name then return P.is_list(value) and value[1] or value end
  end
end

-- The fields of a body that is JSON or a form.
local function body_fields(visit)
  local fields = visit.handle:headers()
  if not BODIES[fields:get(":method")] then return nil end
  local media = P.media_type(fields:get("content-type") or "")
  local buffer = visit.handle:body()
  local text = buffer and buffer:getBytes(0, buffer:length()) or ""
  if media == "application/json" then return P.json.decode(text) end
  if media == "application/x-www-form-urlencoded" then return P.url.parameters(text) end
end

-- The tokens of the request in the order of the action; nil where one is missing.
local function tokens_of(visit, action)
  local found, body = {}, nil
  for i, token in ipairs(action.tokens) do
    local name, prefix, value = visit:text(token.name):lower(), visit:text(token.prefix), nil
    if token.method == "header" then
      value = visit.handle:headers():get(name)
    else
      body = body or body_fields(visit) or P.Map.new()
      value = entry(body, name)
    end
    value = type(value) == "string" and without(prefix, value)
    if not value or value == "" then return nil end
    found[i] = P.map({{"text", value}, {"type", token.type}})
  end
  return P.list(found)
end

local function all(visit, texts)
  local found = {}
  for i, text in ipairs(texts) do found[i] = visit:text(text) end
  return P.list(found)
end

local function leave(visit, action, results)
  local tokens = {}
  for i = 1, results.values.tokens.n do
    local seen, token = results.values.tokens[i].values, action.tokens[i]
    tokens[i] = P.map({
      {"header", seen.header}, {"payload", seen.payload}, {"signature", seen.signature}, {"verified", seen.verified},
      {"location", token.method}, {"location_property", visit:text(token.name)},
    })
  end
  visit:leave("jwt_validation", {{"tokens", P.list(tokens)}})
  local subject = results.values.tokens[1].values.payload.values.sub
  if type(subject) == "string" then visit:note("identity", subject) end
end

P.action["jwt-validation"] = function(visit, action)
  local tokens = tokens_of(visit, action)
  if not tokens then return P.gate.page(visit, action.refused) end
  local question = P.json.encode(P.gate.table({
    {"tokens", tokens}, {"issuers", all(visit, action.issuers)}, {"audiences", all(visit, action.audiences)},
    {"algorithms", P.list(action.algorithms)}, {"key_sets", all(visit, action.key_sets)}, {"by_kid", action.by_kid},
  }))
  local now = P.gate.now(visit)
  local results = known:get(question, now)
  if not results then
    local answer = P.gate.ask(visit, "/tokens", question, MILLISECONDS, true)
    if answer.passed ~= true then return P.gate.reply(visit, answer) end
    results = answer.results
    known:keep(question, results, answer["until"])
  end
  leave(visit, action, results)
  return false
end
