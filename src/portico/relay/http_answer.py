"""The relay's own HTTP/1.1 answers, for the two moments when nobody else can say what went wrong."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from portico.model import pages
from portico.model.errors import AGENTS_ONLY, ErrorCode

_ACCEPT: Final = re.compile(rb"\r\naccept:[ \t]*([^\r]*)", re.IGNORECASE)
_BODILESS: Final = b"HTTP/1.1 204", b"HTTP/1.1 304"
_FRAMING: Final = re.compile(rb"\n(?:content-length|transfer-encoding):", re.IGNORECASE)
_FRAMING_BYTES: Final = 4_096


def error_page(
    code: ErrorCode, detail: str, head: bytes, mark: str, *, unseen: bool = False, fields: Sequence[str] = ()
) -> bytes:
    """A page for the visitor whose request begins with `head`.

    `mark` names the response header that tells Envoy the error's number; `unseen` see `pages.mark_fields`; `fields`
    are further lines of the head.
    """
    content_type, body = pages.render(code, detail, _accept(head))
    marks = [f"{name}: {value}" for name, value in pages.mark_fields(code, mark, unseen=unseen)] if mark else []
    return _response(code.status or 502, content_type, body, [*fields, *marks], bodiless=head.startswith(b"HEAD "))


def is_framed(answer: bytes) -> bool:
    """Whether the answer that begins with `answer` ends by itself (RFC 9112, 6.3), as far as its first bytes tell."""
    return answer.startswith(_BODILESS) or _FRAMING.search(answer, 0, _FRAMING_BYTES) is not None


def misdirected(head: bytes) -> bytes:
    """To somebody who speaks HTTP where agents are awaited, as far as his request has come (RFC 9110, 15.5.20)."""
    content_type, body = pages.render(AGENTS_ONLY, accept=_accept(head))
    fields = [f"{name}: {value}" for name, value in pages.code_headers(AGENTS_ONLY)]
    return _response(AGENTS_ONLY.status or 421, content_type, body, fields, bodiless=head.startswith(b"HEAD "))


def _accept(head: bytes) -> str:
    found = _ACCEPT.search(head)
    return found[1].decode("latin-1") if found else ""


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
