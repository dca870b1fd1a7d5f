"""What the policies' runtime is answered, as JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec

from portico.model import pages
from portico.model.errors import PorticoError


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """The visitor may pass."""

    passed: bool = True
    results: dict[str, Any] = {}
    """What later rules see: `actions.ngrok.<action>`."""
    set_cookies: tuple[str, ...] = ()
    """Set-Cookie fields for the response."""
    until: float = 0.0
    """Until when who has asked may give this answer himself; seconds since the epoch."""

    def __repr__(self) -> str:
        return "Pass(…)"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The visitor gets this response, and his request goes no further."""

    passed: bool = False
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    """Some names come more than once."""
    body: str = ""

    def __repr__(self) -> str:
        return f"Reply(status={self.status}, …)"


class NotMine(msgspec.Struct, frozen=True, kw_only=True):
    """The path is none of the sign-in's."""

    passed: bool = True


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that may come through."""

    granted: int
    """How many; none where the window has had its requests."""
    seconds: float
    """How long that holds: a grant ends with its window, and a refusal may be repeated until then."""


def page(error: PorticoError, accept: str, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """The page of an error that has a status."""
    content_type, body = pages.render(error.code, error.message, accept)
    fields = [("content-type", content_type), ("cache-control", "no-store"), *pages.code_headers(error.code)]
    return Reply(status=error.code.status or 500, headers=(*fields, *headers), body=body.decode())
