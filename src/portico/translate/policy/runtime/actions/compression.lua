-- compress-response: Envoy's compressors stand before this filter, so they see a response after it. They pass one by that
-- says no-transform, which is written here unless the action has run, and taken back by the first filter of the policy.
local CONTROL, KEPT = "cache-control", "x-edge-cache-control"

P.action["compress-response"] = function(visit, action)
  visit.compresses = true
  local fields = visit.handle:headers()
  local already = fields:get("content-encoding") ~= nil
  visit:leave("compress", {{"already_compressed", already}, {"negotiated_algorithm", ""}})
  return false
end

--- Behind the rules of the response: stops the compressors where none of them has let them work.
function P.settle_compression(visit)
  if visit.compresses then return end
  local fields = visit.handle:headers()
  fields:replace(KEPT, fields:get(CONTROL) or "")
  fields:replace(CONTROL, "no-transform")
end

--- In front of them: gives the response its own word back.
function P.restore_cache_control(handle)
  local fields = handle:headers()
  local kept = fields:get(KEPT)
  if kept == nil then return end
  fields:remove(KEPT)
  if kept == "" then fields:remove(CONTROL) else fields:replace(CONTROL, kept) end
end
