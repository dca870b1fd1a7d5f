-- deny, close-connection, custom-response
P.action["deny"] = function(visit, action)
  if visit.phase == "connect" then P.close(visit) end
  P.respond(visit, action.status, {}, "", true)
  return true
end

P.action["close-connection"] = function(visit)
  P.close(visit)
  return true
end

-- The content type of a body that nobody named one for.
local function media_type(body)
  local text = body:match("^%s*(.*)$")
  local first = text:sub(1, 1)
  if (first == "{" or first == "[") and P.json.decode(text) ~= nil then return "application/json" end
  return first == "<" and "text/html; charset=utf-8" or "text/plain; charset=utf-8"
end

P.action["custom-response"] = function(visit, action)
  local body = visit:text(action.body)
  local headers, typed = {}, false
  for _, pair in ipairs(action.headers) do
    headers[#headers + 1] = {pair[1], visit:field(pair[2])}
    typed = typed or pair[1] == "content-type"
  end
  if not typed and body ~= "" then headers[#headers + 1] = {"content-type", media_type(body)} end
  if visit.phase == "response" then
    P.replace_body(visit.handle, action.status, headers, body)
  else
    local fields = {}
    for _, pair in ipairs(headers) do fields[pair[1]] = pair[2] end
    visit.ended = "responded"
    P.respond(visit, action.status, fields, body, true)
  end
  return true
end
