-- verify-webhook: an HMAC of parts of the request, in the form of the sender (translate/policy/actions/webhooks.py).
local ipairs, tonumber = ipairs, tonumber

-- `t=1,v1=abc,v1=def` as lists by key.
local function pairs_of(field)
  local found = {}
  for key, value in field:gmatch("%s*([%w_]+)=([^,]*)") do
    found[key] = found[key] or {}
    found[key][#found[key] + 1] = value
  end
  return found
end

-- The signatures that the header has, and the time that was signed.
local function given(form, fields)
  local field = fields:get(form.header) or ""
  if form.pairs ~= "" then
    local found = pairs_of(field)
    return found[form.pairs] or {}, (found[form.timestamp] or {})[1]
  end
  local signatures = {}
  for part in field:gmatch("[^%s]+") do
    for one in (form.prefix:find(",", 1, true) and part or part:gsub(",", " ")):gmatch("[^%s]+") do
      if one:sub(1, #form.prefix) == form.prefix then signatures[#signatures + 1] = one:sub(#form.prefix + 1) end
    end
  end
  return signatures, form.timestamp ~= "" and fields:get(form.timestamp) or nil
end

local function in_time(visit, action, timestamp)
  local seconds = tonumber(timestamp)
  if not seconds then
    -- ISO 8601, as Zendesk writes it.
    local done, value = pcall(P.fn["timestamp"], timestamp)
    seconds = done and value.seconds
  end
  return seconds and math.abs(visit.handle:timestamp() / 1000 - seconds) <= action.tolerance
end

local NO_SECRET = "the secret is empty, or not in the form that the sender gives it: anybody could sign with it"

local function key_of(form, secret)
  local prefix = form.secret_base64
  if prefix == "" then return secret end
  if secret:sub(1, #prefix) == prefix then secret = secret:sub(#prefix + 1) end
  local key = P.base64.decode(secret) or ""
  if key == "" then P.fail(NO_SECRET) end
  return key
end

local function signed_text(visit, form, timestamp, body)
  local values = {body = body, timestamp = timestamp or ""}
  if form.id ~= "" then values.id = visit.handle:headers():get(form.id) or "" end
  local parts = {}
  for i, part in ipairs(form.signed) do
    if part == "url" then values.url = visit:get("req.url") end
    parts[i] = part:sub(1, 1) == "=" and part:sub(2) or values[part]
  end
  return table.concat(parts)
end

local function body_of(visit)
  local buffer = visit.handle:body()
  return buffer and buffer:getBytes(0, buffer:length()) or ""
end

local function is_signed(visit, action, secret)
  local form = action.signature
  local signatures, timestamp = given(form, visit.handle:headers())
  if #signatures == 0 then return false end
  if form.timestamp ~= "" and not (timestamp and in_time(visit, action, timestamp)) then return false end
  local text = signed_text(visit, form, timestamp, body_of(visit))
  local mac = P.hash.hmac(form.hash, key_of(form, secret), text)
  local wanted = form.encoding == "hex" and P.hex.encode(mac) or P.base64.encode(mac)
  local found = false
  for _, signature in ipairs(signatures) do
    found = P.same(form.encoding == "hex" and signature:lower() or signature, wanted) or found
  end
  return found
end

P.action["verify-webhook"] = function(visit, action)
  local secret, verified = visit:text(action.secret), nil
  if secret == "" then P.fail(NO_SECRET) end
  if action.token then
    verified = P.same(visit.handle:headers():get(action.token) or "", secret)
  else
    verified = is_signed(visit, action, secret)
  end
  visit:leave("verify_webhook", {{"verified", verified}})
  if verified or not action.enforce then return false end
  P.refuse(visit, 403)
  return true
end
