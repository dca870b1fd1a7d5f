-- oauth, openid-connect: who has a session passes; all others are the gate's to lead to the provider.
local ipairs, pairs, pcall = ipairs, pairs, pcall
local MILLISECONDS = 25000 -- an exchange with the provider is two requests of 10 s at most
local known = P.gate.answers(5000)

local function scheme(visit)
  return visit.handle:streamInfo():downstreamSslConnection() and "https" or "http"
end

-- The visit as JSON (gate/questions.py).
local function visit_text(visit, names)
  local fields, headers = visit.handle:headers(), P.Map.new()
  for _, name in ipairs(names) do
    local value = fields:get(name)
    if value then P.Map.set(headers, name, value) end
  end
  return P.json.encode(P.gate.table({
    {"method", fields:get(":method")}, {"scheme", scheme(visit)}, {"host", fields:get(":authority")},
    {"path", fields:get(":path")}, {"cookies", fields:get("cookie")}, {"headers", headers},
  }))
end

-- The action as JSON: made once where nothing in it is of the request.
local function action_text(visit, action)
  if action.text then return action.text end
  local pairs_ = {}
  for i, pair in ipairs(action.asked) do pairs_[i] = {pair[1], visit:text(pair[2])} end
  for i, name in ipairs({"scopes", "parameters"}) do pairs_[#pairs_ + 1] = {name, action[name]} end
  local text = P.json.encode(P.gate.table(pairs_))
  if action.fixed then action.text = text end
  return text
end

-- The cookies of sessions, which an answer of before belongs to.
local function session_of(visit)
  local found = {}
  for cookie in (visit.handle:headers():get("cookie") or ""):gmatch("[%w_]*%-*portico%-session[^;]*") do
    found[#found + 1] = cookie
  end
  return table.concat(found, ";")
end

-- Nobody but this action says who a visitor is. CGI and WSGI read `_` as `-`.
local function forget_strangers(visit, action)
  local fields, ours, strange = visit.handle:headers(), {}, {}
  for _, name in ipairs(action.identity_headers) do ours[name] = true end
  for name in pairs(fields) do
    if ours[(name:gsub("_", "-"))] then strange[#strange + 1] = name end
  end
  for _, name in ipairs(strange) do fields:remove(name) end
end

local function introduce(visit, action, results)
  local fields, identity = visit.handle:headers(), results.values.identity
  for _, name in ipairs(action.identity_headers) do fields:remove(name) end
  if identity then
    for i, key in ipairs(action.identity_keys) do
      -- What is no text of one line cannot stand in a header.
      local value = identity.values[key]
      if value ~= "" and not value:find("[%z\1-\31\127]") then fields:replace(action.identity_headers[i], value) end
    end
    visit:note("identity", identity.values.email ~= "" and identity.values.email or identity.values.provider_user_id)
  end
  P.Map.set(visit.results, action.result, results)
  visit:changed()
end

-- Cookies for the response stand beside the stream: it passes each filter, and none must load the whole state for them.
local COOKIES = "cookies"

local function noted_cookies(visit)
  local of = visit.handle:streamInfo():dynamicMetadata():get("portico")
  local lines = of and of[COOKIES]
  return lines and #lines > 0 and lines or nil
end

local function renew(visit, given)
  if given.n == 0 then return end
  local lines = noted_cookies(visit) or {}
  for i = 1, given.n do lines[#lines + 1] = given[i] end
  visit:note(COOKIES, lines)
end

local function sign_in(visit, action)
  local asked, session, now = action_text(visit, action), session_of(visit), P.gate.now(visit)
  local key = asked .. "\n" .. scheme(visit) .. visit.handle:headers():get(":authority") .. "\n" .. session
  local results = session ~= "" and known:get(key, now)
  if not results then
    local question = '{"visit":' .. visit_text(visit, action.headers) .. ',"action":' .. asked .. "}"
    local answer = P.gate.ask(visit, "/sign-in", question, MILLISECONDS, true)
    if answer.passed ~= true then return P.gate.reply(visit, answer) end
    results = answer.results
    renew(visit, answer.set_cookies)
    if session ~= "" and answer["until"] > now then known:keep(key, results, answer["until"]) end
  end
  introduce(visit, action, results)
  return false
end

P.action["oauth"] = sign_in
P.action["openid-connect"] = sign_in

local PATHS = {"/.portico/oauth/", "/ngrok/"}

--- Answers what the provider sends back, and the paths to sign in and out, whatever the rules say of those paths.
function P.sign_in_path(visit, actions)
  forget_strangers(visit, actions[1])
  local path, ours = visit.handle:headers():get(":path"), false
  for _, prefix in ipairs(PATHS) do ours = ours or path:sub(1, #prefix) == prefix end
  if not ours then return false end
  local texts = {}
  for _, action in ipairs(actions) do
    -- One whose texts are of rules that have not run yet answers for itself, later.
    local done, text = pcall(action_text, visit, action)
    if done then texts[#texts + 1] = text end
  end
  local asked = '{"visit":' .. visit_text(visit, actions[1].headers) .. ',"actions":[' .. table.concat(texts, ",") .. "]}"
  local answer = P.gate.ask(visit, "/sign-in/path", asked, MILLISECONDS, true)
  if answer.passed == true then return false end
  return P.gate.reply(visit, answer)
end

--- Gives the visitor the cookies of sessions that were renewed on the way.
function P.give_cookies(visit)
  local lines = noted_cookies(visit)
  if not lines then return end
  for _, line in ipairs(lines) do visit.handle:headers():add("set-cookie", line) end
  visit:note(COOKIES, {})
end

-- `tags` are of the sign-ins whose sessions are meant; true for all, and for sign-ins that have only begun.
local function hide(visit, tags)
  local hidden = {}
  if tags ~= true then
    for _, tag in ipairs(tags) do hidden[tag] = true end
  end
  local fields = visit.handle:headers()
  local cookies = fields:get("cookie")
  if not cookies or not cookies:find("portico-", 1, true) then return end
  local kept = {}
  for cookie in cookies:gmatch("[^;]+") do
    cookie = cookie:match("^%s*(.-)%s*$")
    local name = cookie:gsub("^__%a+%-", "")
    local tag = name:match("^portico%-session%-(%x*)")
    local ours = tag and (tags == true or hidden[tag]) or tags == true and name:find("^portico%-sign%-in%-")
    if not ours then kept[#kept + 1] = cookie end
  end
  if #kept > 0 then fields:replace("cookie", table.concat(kept, "; ")) else fields:remove("cookie") end
end

--- Keeps sessions from upstreams, which have no use for them: they are long, and good for every endpoint of their domain.
function P.hide_sessions(visit)
  hide(visit, true)
end

--- Keeps this policy's sessions from an internal endpoint, which may have sign-ins of its own.
function P.hide_own_sessions(visit)
  if visit.program.own_sessions then hide(visit, visit.program.own_sessions) end
end
