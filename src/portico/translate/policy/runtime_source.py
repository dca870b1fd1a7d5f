"""The Lua library that every compiled policy calls, as one text.

Its files stand in `runtime/`, one concept each. Each sees the table `P`, puts what it has to offer into it, and has
locals of its own: a function of Lua takes at most 200, so each file is a block. What a file uses while it is loaded
stands before it in `FILES`; what it uses later may stand anywhere.
"""

from functools import cache
from importlib.resources import files
from typing import Final

FILES: Final = (
    "values.lua",
    "encodings.lua",
    "regex.lua",
    "hashes.lua",
    "addresses.lua",
    "json.lua",
    "url.lua",
    "letters.lua",
    "lists.lua",
    "functions.lua",
    "operators.lua",
    "loops.lua",
    "numbers.lua",
    "text.lua",
    "format.lua",
    "time.lua",
    "conversions.lua",
    "visit.lua",
    "variables.lua",
    "facts.lua",
    "actions/endings.lua",
    "actions/messages.lua",
    "actions/urls.lua",
    "actions/access.lua",
    "actions/forward_internal.lua",
    "actions/rate_limit.lua",
    "actions/compression.lua",
    "actions/circuit_breaker.lua",
    "actions/webhooks.lua",
    "actions/bodies.lua",
    "gate.lua",
    "actions/shared_limits.lua",
    "actions/sign_in.lua",
    "actions/jwt_validation.lua",
    "actions/http_request.lua",
    "run.lua",
)
"""In the order in which they are loaded."""


_ON_REQUEST: Final = "function envoy_on_request(handle) P.on_request(handle) end\n"
_ON_RESPONSE: Final = "function envoy_on_response(handle) P.on_response(handle) end\n"
"""The two functions that Envoy looks for."""


def envoy_script(*, responses: bool = True) -> str:
    """The whole script of a policy's Lua filters, the same for all of them; without `responses` it never sees any."""
    return runtime_source() + _ON_REQUEST + (_ON_RESPONSE if responses else "")


def request_script(script: str) -> str:
    """The file of the runtime without a hook for responses, which each response would pay for (15 % of a request)."""
    return f"{script}.request"


@cache
def runtime_source() -> str:
    """All of it; a chunk in which `P` is the library."""
    folder = files(__package__) / "runtime"
    blocks = [f"do -- {name}\n{(folder / name).read_text('utf-8')}end\n" for name in FILES]
    return "".join(["local P = {}\n", *blocks])
