"""The relay's own HTTP/1.1 answers, for the two moments when nobody else can say what went wrong."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from portico.model import pages
from portico.model.errors import ErrorCode

_ACCEPT: Final = re.compile(rb"\r\naccept:[ \t]*([^\r]*)", re.IGNORECASE)
_BODILESS: Final = b"HTTP/1.1 204", b"HTTP/1.1 304"
_FRAMING: Final = re.compile(rb"\n(?:content-length|transfer-encoding):", re.IGNORECASE)
_FRAMING_BYTES: Final = 4_096

NO_AGENT: Final = (
    b"This address is for agents and speaks their protocol.\n"
    b"To visit an endpoint, use its own URL (the name in it tells the edge where to go).\n"
)


def error_page(
    code: ErrorCode, detail: str, head: bytes, mark: str, *, unseen: bool = False, fields: Sequence[str] = ()
) -> bytes:
    """A page for the visitor whose request begins with `head`.

    `mark` names the response header that tells Envoy the error's number; `unseen` see `pages.mark_fields`; `fields`
    are further lines of the head.
    """
    accept = _ACCEPT.search(head)
    content_type, body = pages.render(code, detail, accept[1].decode("latin-1") if accept else "")
    marks = [f"{name}: {value}" for name, value in pages.mark_fields(code, mark, unseen=unseen)] if mark else []
    return _response(code.status or 502, content_type, body, [*fields, *marks], bodiless=head.startswith(b"HEAD "))


def is_framed(answer: bytes) -> bool:
    """Whether the answer that begins with `answer` ends by itself (RFC 9112, 6.3), as far as its first bytes tell."""
    return answer.startswith(_BODILESS) or _FRAMING.search(answer, 0, _FRAMING_BYTES) is not None


def misdirected() -> bytes:
    """To somebody who speaks HTTP where agents are awaited (RFC 9110, 15.5.20)."""
    return _response(421, "text/plain; charset=utf-8", NO_AGENT, [], bodiless=False)


def _response(status: int, content_type: str, body: bytes, fields: list[str], *, bodiless: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "connection: close",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if bodiless else body)
