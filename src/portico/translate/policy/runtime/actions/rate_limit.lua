-- rate-limit: Envoy counts, behind this filter, by the header written here; or nodes do together (shared_limits.lua).
local function key_of(visit, action)
  local parts = {}
  for i, part in ipairs(action.key) do parts[i] = part(visit) end
  return P.json.encode(P.List.new(parts, #action.key))
end

P.action["rate-limit"] = function(visit, action)
  local key = key_of(visit, action)
  if action.limit then return P.count_together(visit, action, key) end
  -- A hash: the key may be long, and have bytes that no field may have.
  visit.handle:headers():replace(action.header, P.hex.encode(P.hash.sha256(key)))
  visit:leave("rate_limit", {{"bucket_key", key}, {"limited", false}})
  return false
end

--- Where the limit is not enforced, whether it was reached. The upstream sees nothing of it.
P.action["rate-limit.then"] = function(visit, action)
  local fields = visit.handle:headers()
  local result = visit.results.values["rate_limit"]
  if result then P.Map.set(result, "limited", fields:get(action.limited) ~= nil) end
  fields:remove(action.header)
  fields:remove(action.limited)
  return false
end
