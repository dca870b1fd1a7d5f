"""HTTP-01 (RFC 8555, 8.3) on the http listener, for every host, without a resource for any.

A request below the well-known path is shown to control. If control knows the token its answer is the answer; if not,
or if control is away, the request goes on: an endpoint may have certificates of its own in the making.
"""

from typing import Final

from portico.translate import names
from portico.translate.typed import Body, extension

_SCRIPT: Final = """\
local PREFIX = "/.well-known/acme-challenge/"

function envoy_on_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path")
  if path == nil or string.sub(path, 1, #PREFIX) ~= PREFIX or #path > 300 then return end
  local answer, body = handle:httpCall("@CLUSTER@", {
    [":method"] = "GET", [":path"] = path, [":authority"] = headers:get(":authority"),
  }, nil, 5000)
  if answer[":status"] == "200" then
    handle:respond({[":status"] = "200", ["content-type"] = "application/octet-stream"}, body)
  end
end
"""


def challenge_filter() -> Body:
    """The filter; it costs other requests one look at their path."""
    return extension(
        "challenges",
        "envoy.extensions.filters.http.lua.v3.Lua",
        default_source_code={"inline_string": _SCRIPT.replace("@CLUSTER@", names.HTTP_CHALLENGES)},
        shared_vm_id="portico",
    )
