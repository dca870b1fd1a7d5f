-- request-body-find-replace, response-body-find-replace
local function find_replace(visit, action)
  -- What is compressed has nothing that a pattern could find.
  if (visit.handle:headers():get("content-encoding") or "identity") ~= "identity" then return false end
  local buffer = visit.handle:body()
  if not buffer then return false end
  local body = buffer:getBytes(0, buffer:length())
  local before = body
  for _, pair in ipairs(action.replacements) do
    local program = type(pair[1]) == "function" and P.regex.text(pair[1](visit)) or pair[1]
    body = P.regex.replace(program, body, visit:text(pair[2]))
  end
  if body == before then return false end
  local headers = visit.handle:headers()
  local length = headers:get("content-length")
  buffer:setBytes(body)
  -- setBytes writes a length. Where none was said, none may be: in HTTP/1.1 a body with a length has no trailers.
  if length then
    headers:replace("content-length", tostring(#body))
  else
    headers:remove("content-length")
  end
  visit:changed()
  return false
end

P.action["request-body-find-replace"] = find_replace
P.action["response-body-find-replace"] = find_replace
