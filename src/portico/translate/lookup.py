"""Hosts that have no scope as they were written: other spellings, wildcards, and on port 80 those of https endpoints.

A scope is found by an exact, case-sensitive key. So a known host costs nothing here (its scope switches this filter
off), and only the others come through the script. It looks for the host in lower case, without port and final dot, then
for the wildcards that cover it, the most specific first. The security class stays what the filter chain said, with one
exception that forwards nothing: in class `plain` a host that only https knows is sent there.
"""

from typing import Final

from portico.model.edge import EdgeFrame
from portico.translate import names
from portico.translate.typed import Body, extension, typed

FILTER: Final = "lookup"

_SCRIPT: Final = """\
local MAX_LABELS = 32

local function known(handle, class, name)
  local headers = handle:headers()
  headers:replace("@CLASS@", class)
  headers:replace("@HOST@", name)
  handle:clearRouteCache()
  return handle:route() ~= nil
end

local function redirect(handle, host)
  handle:respond({
    [":status"] = "308",
    ["location"] = "https://" .. host .. "@PORT@" .. handle:headers():get(":path"),
    ["cache-control"] = "no-store",
  }, "")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local class = headers:get("@CLASS@")
  local written = headers:get("@HOST@")
  if class == nil or written == nil then return end
  local host = string.gsub(string.lower(string.match(written, "^[^:]*")), "%.+$", "")
  if #host == 0 or #host > 253 then return end
  local name = host
  for _ = 1, MAX_LABELS do
    if known(handle, class, name) then return end
    if class == "@PLAIN@" and known(handle, "@PUBLIC@", name) then
      known(handle, class, name)
      redirect(handle, host)
      return
    end
    local rest = string.match(string.gsub(name, "^%*%.", ""), "%.(.+)$")
    if rest == nil then break end
    name = "*." .. rest
  end
  known(handle, class, host)
end
"""


def lookup_filter(frame: EdgeFrame) -> Body:
    """The filter, first in every HTTP connection manager."""
    port = "" if frame.https.port == 443 else f":{frame.https.port}"
    script = _SCRIPT
    for word, value in (
        ("@CLASS@", names.CLASS_HEADER),
        ("@HOST@", names.HOST_HEADER),
        ("@PLAIN@", names.PLAIN),
        ("@PUBLIC@", names.PUBLIC),
        ("@PORT@", port),
    ):
        script = script.replace(word, value)
    return extension(
        FILTER,
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": script},
        # One LuaJIT VM a worker for all chains; each of its own would cost 270 KB.
        shared_vm_id="portico",
    )


def switched_off() -> Body:
    """Per-scope configuration: the scope was found, nothing is to look up."""
    return {FILTER: typed("envoy.config.route.v3.FilterConfig", disabled=True)}
