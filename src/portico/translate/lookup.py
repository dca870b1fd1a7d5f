"""Hosts that have no scope as they were written: other spellings, wildcards, and on port 80 those of https endpoints.

A scope is found by an exact, case-sensitive key. So a known host costs nothing here (its scope switches this filter
off), and only the others come through it. It tries the host in lower case, without port and final dot, then the
wildcards that cover it, the most specific first. The security class stays what the filter chain said, with one
exception that forwards nothing: in class `plain` a host that only https knows is sent there.

Envoy looks for the scope anew only between two filters, so each step is one, and they stand in one `filter_chain`.

The last step is for what the edge answers itself, for hosts that it does not know and those that nothing serves: there
a small body may come first. In HTTP/2 Envoy resets a stream that it has answered before its request has ended (RFC
9113, section 8.1), and curl up to 7.88 then loses the answer. Who is refused by his address or by a limit is not waited
for: that refusal is to cost nothing.
"""

from typing import Final

from portico.model.edge import EdgeFrame
from portico.translate import names
from portico.translate.typed import Body, extension, typed

FILTER: Final = "lookup"

WAITED_FOR: Final = 65_536
"""Bytes of a body that may come before the edge answers."""

MAX_LABELS: Final = 10
"""A wildcard is found for hosts of so many labels; each costs a step in the chain."""

_COMMON: Final = """\
local CLASS, HOST, PLAIN, PUBLIC = "x-edge-class", "x-edge-host", "plain", "pub"

local function canonical(host)
  local bare = string.lower(string.match(host, "^[^:]*"))
  return (string.gsub(bare, "%.+$", ""))
end

local function wider(host)
  local rest = string.match(string.gsub(host, "^%*%.", ""), "^[^.]*%.(.+)$")
  return rest and "*." .. rest
end

local function found(handle)
  return handle:streamInfo():routeName() ~= ""
end

local function await_small_body(handle)
  local length = tonumber(handle:headers():get("content-length") or "")
  if length and length > 0 and length <= @WAITED_FOR@ then handle:body() end
end
"""

_STEP: Final = (
    _COMMON
    + """
function envoy_on_request(handle)
  if found(handle) then return end
  local headers = handle:headers()
  local tried = headers:get(HOST)
  if tried == nil or #tried > 260 then return end
  local name = canonical(tried)
  if name == tried then name = wider(tried) end
  if name ~= nil then headers:replace(HOST, name) end
end
"""
)

_PLAIN: Final = (
    _COMMON
    + """
local function redirect(handle, headers)
  await_small_body(handle)
  handle:respond({
    [":status"] = "308",
    ["location"] = "https://" .. canonical(headers:get(":authority")) .. "@PORT@" .. headers:get(":path"),
    ["cache-control"] = "no-store",
  }, "")
end

-- Whatever the https side knows, nothing goes on in its class. True where the answer has been given.
local function back(handle, headers)
  local known = found(handle)
  headers:replace(CLASS, PLAIN)
  if known then redirect(handle, headers) end
  return known
end
"""
)

_PLAIN_STEP: Final = (
    _PLAIN
    + """
function envoy_on_request(handle)
  local headers = handle:headers()
  local tried = headers:get(HOST)
  if tried == nil or #tried > 260 then return end
  if headers:get(CLASS) == PUBLIC then
    if back(handle, headers) then return end
    local name = wider(tried)
    if name ~= nil then headers:replace(HOST, name) end
  elseif not found(handle) then
    local name = canonical(tried)
    if name == tried then headers:replace(CLASS, PUBLIC) else headers:replace(HOST, name) end
  end
end
"""
)

_PLAIN_END: Final = (
    _PLAIN
    + """
function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get(CLASS) == PUBLIC then back(handle, headers) end
end
"""
)

_LAST: Final = (
    _COMMON
    + """
function envoy_on_request(handle)
  if not found(handle) or handle:metadata():get("answered") then await_small_body(handle) end
end
"""
)

_ANSWERED: Final[Body] = {"metadata": {"filter_metadata": {"envoy.filters.http.lua": {"answered": True}}}}


def lookup_filter(frame: EdgeFrame, scope_class: str, labels: int) -> Body:
    """The filter, first in every HTTP connection manager: all spellings, and wildcards for hosts of `labels` labels."""
    if scope_class == names.PLAIN:
        steps = [_lua(frame, "step", _PLAIN_STEP)] * (2 * labels + 1) + [_lua(frame, "end", _PLAIN_END)]
    else:
        steps = [_lua(frame, "step", _STEP)] * labels
    return extension(
        FILTER,
        "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
        default_filter_chain={"filters": [*steps, _lua(frame, "last", _LAST)]},
    )


def for_scope(answers: list[Body]) -> Body:
    """Per-scope configuration: the scope was found, nothing is to look up. The last step runs where it is to wait."""
    waits = any(_ANSWERED.items() <= answer.items() for answer in answers)
    return {} if waits else {FILTER: typed("envoy.config.route.v3.FilterConfig", disabled=True)}


def answered(route: Body) -> Body:
    """The route, marked for the last step as one that the edge answers itself."""
    return route | _ANSWERED


def _lua(frame: EdgeFrame, name: str, script: str) -> Body:
    port = "" if frame.https.port == 443 else f":{frame.https.port}"
    return extension(
        name,
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": script.replace("@PORT@", port).replace("@WAITED_FOR@", str(WAITED_FOR))},
        # One LuaJIT VM a worker for all of them; each of its own would cost 270 KB.
        shared_vm_id="portico",
    )
