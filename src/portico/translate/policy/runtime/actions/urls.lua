-- redirect, url-rewrite

-- The URL before and after, and what was matched; an absent `from` matches the whole.
local function changed(visit, action)
  local before = visit:get("req.url")
  local after, matches = visit:text(action.to), P.list({before})
  if action.from then
    local pattern = type(action.from) == "function" and P.regex.text(action.from(visit)) or action.from
    after, matches = P.regex.replace(pattern, before, after)
  end
  after = P.url.join(before, P.percent.graphic(after))
  if not after or not P.url.values(after) then P.fail("what comes of it is no URL") end
  return before, after, matches
end

P.action["redirect"] = function(visit, action)
  local before, after, matches = changed(visit, action)
  visit:leave("redirect", {{"matches", matches}, {"url", after}})
  if before == after then return false end
  local headers = {}
  for _, pair in ipairs(action.headers) do headers[pair[1]] = visit:field(pair[2]) end
  headers["location"] = after
  P.respond(visit, action.status, headers, "", true)
  return true
end

P.action["url-rewrite"] = function(visit, action)
  local before, after, matches = changed(visit, action)
  visit:leave("url_rewrite", {{"matches", matches}, {"url", after}})
  if before == after then return false end
  local values, fields = P.url.values(after), visit.handle:headers()
  fields:replace(":path", values["req.url.uri"])
  local authority = values["req.url.authority"]
  if authority ~= visit:get("req.url.authority") then fields:replace(":authority", authority) end
  visit:changed()
  return false
end
