-- restrict-ips, basic-auth
local ipairs = ipairs

-- The network of a list that has the address, or nil.
local function matching(visit, list, address)
  local found = list.known:find(address)
  if found then return found end
  for _, make in ipairs(list.others) do
    local cidr = make(visit)
    if P.in_network(address, cidr) then return cidr end
  end
end

P.action["restrict-ips"] = function(visit, action)
  local address = visit:get("conn.client_ip")
  local denied, allowed = matching(visit, action.deny, address), matching(visit, action.allow, address)
  local let_in = allowed ~= nil and denied == nil
  visit:leave("restrict_ips", {
    {"action", let_in and "allow" or "deny"}, {"matched_cidr", denied or allowed or ""},
  })
  if let_in or not action.enforce then return false end
  if visit.phase == "connect" then P.close(visit) else P.refuse(visit, 403) end
  return true
end

-- `user:password` that the request brings; nil where it brings none, empty where it cannot be read.
local function given(visit)
  local value = visit.handle:headers():get("authorization") or ""
  local scheme, written = value:match("^(%a+) +(.*)$")
  if not scheme or scheme:lower() ~= "basic" then return nil end
  return P.base64.decode(written:match("^(.-)%s*$")) or ""
end

local function is_known(visit, action, credential)
  local hash, found = P.hex.encode(P.hash.sha256(credential)), false
  for _, known in ipairs(action.known) do found = P.same(known, hash) or found end
  for _, make in ipairs(action.others) do
    local wanted = make(visit)
    -- What an expression gives may be empty, and then nobody has that password.
    found = wanted:find(":.") ~= nil and P.same(wanted, credential) or found
  end
  return found
end

P.action["basic-auth"] = function(visit, action)
  local credential = given(visit)
  local authorized = credential ~= nil and is_known(visit, action, credential)
  local user = credential and credential:match("^[^:]*") or ""
  visit:leave("basic_auth", {
    {"credentials", P.map({{"presented", credential ~= nil}, {"authorized", authorized}, {"username", user}})},
  })
  if authorized then visit:note("identity", user) end
  if authorized or not action.enforce then return false end
  P.respond(visit, 401, {["www-authenticate"] = 'Basic realm="' .. action.realm:gsub('["\\]', "\\%0") .. '"'}, "", true)
  return true
end
