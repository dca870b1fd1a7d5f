-- add-headers, remove-headers, set-vars, log
local ipairs = ipairs

-- `host` is Envoy's `:authority` in a request.
local function field_name(visit, name)
  return name == "host" and visit.phase ~= "response" and ":authority" or name
end

P.action["add-headers"] = function(visit, action)
  local added = {}
  for i, pair in ipairs(action.headers) do added[i] = {pair[1], visit:field(pair[2])} end
  local fields = visit.handle:headers()
  for _, pair in ipairs(added) do
    local name = field_name(visit, pair[1])
    if name == ":authority" then fields:replace(name, pair[2]) else fields:add(name, pair[2]) end
  end
  visit:changed()
  visit:leave("add_headers", {{"headers_added", P.map(added)}})
  return false
end

P.action["remove-headers"] = function(visit, action)
  local fields, removed = visit.handle:headers(), {}
  for _, name in ipairs(action.headers) do
    if fields:get(name) ~= nil then
      removed[#removed + 1] = name
      fields:remove(name)
    end
  end
  visit:changed()
  visit:leave("remove_headers", {{"headers_removed", P.list(removed)}})
  return false
end

P.action["set-vars"] = function(visit, action)
  for _, pair in ipairs(action.vars) do P.Map.set(visit.vars, pair[1], pair[2](visit)) end
  return false
end

-- A value as Envoy's metadata has it: tables and texts.
local function plain(value)
  local kind = P.kind(value)
  if kind == "list" then
    local items = {}
    for i = 1, value.n do items[i] = plain(value[i]) end
    return items
  elseif kind == "map" then
    local entries = {}
    for key, item in P.Map.each(value) do entries[tostring(key)] = plain(item) end
    return entries
  elseif kind == "string" or kind == "bool" or kind == "int" or kind == "double" then
    return value
  elseif kind == "null_type" then
    return "null"
  end
  return P.fn["string"](value)
end

P.action["log"] = function(visit, action)
  local metadata = action.metadata(visit)
  visit.logged = visit.logged or {}
  for name, value in P.Map.each(metadata) do visit.logged[name] = plain(value) end
  visit:note("log", visit.logged)
  visit:leave("log", {{"metadata", metadata}})
  return false
end
