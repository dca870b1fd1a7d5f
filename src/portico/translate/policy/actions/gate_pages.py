"""Pages that the runtime shows by itself, made with the policy."""

from portico.model import pages
from portico.model.errors import ErrorCode
from portico.translate.policy.lua import LuaValue


def page(code: ErrorCode, **more: str) -> LuaValue:
    """The page of a code for `P.gate.page`; `more` are header fields, `_` for `-`."""
    fields = {name.replace("_", "-"): value for name, value in more.items()}
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "no-store",
        **dict(pages.code_headers(code)),
    }
    return {"status": code.status, "headers": {**headers, **fields}, "body": pages.text_page(code)}
