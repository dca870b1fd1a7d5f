"""The page a visitor meets when something is wrong: one template for the edge's own answers and the relay's.

HTML for browsers, JSON for programs that ask for it, plain text for all others. The page takes nothing from the
request; the detail (a reason from the upstream's side) is escaped.
"""

import json
from html import escape
from typing import Final

from portico.model.errors import ErrorCode

CODE_HEADER: Final = "portico-error-code"
NGROK_CODE_HEADER: Final = "ngrok-error-code"

PROBE_ANSWER: Final = b"reached\n"
"""What a relay answers to a check (PROXY v2, LOCAL) once the agent has reached the upstream."""

_HTML: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root{{--ink:#1c2430;--soft:#566173;--page:#f4f5f7;--card:#fff;--line:#d9dde4;--mark:#a3341f}}
@media (prefers-color-scheme:dark){{
:root{{--ink:#e8ebf0;--soft:#a5afbf;--page:#12161d;--card:#1a2029;--line:#303845;--mark:#ff9b85}}
}}
body{{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--page);color:var(--ink);
font:1rem/1.6 system-ui,sans-serif}}
main{{box-sizing:border-box;width:min(36rem,92vw);margin:2rem 0;padding:2.5rem;background:var(--card);
border:1px solid var(--line);border-radius:.75rem;overflow-wrap:anywhere}}
h1{{margin:0 0 1rem;font-size:1.6rem;line-height:1.25}}
p{{margin:.75rem 0}}
.status{{margin:0;color:var(--mark);font-weight:600}}
.detail{{padding-left:.9rem;border-left:3px solid var(--mark);font:.9rem/1.5 ui-monospace,monospace;
white-space:pre-wrap}}
footer{{margin-top:2rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}}
</style>
</head>
<body>
<main>
<p class="status">{status}</p>
<h1>{title}</h1>
{detail}<p>{fix}</p>
<footer>{names}</footer>
</main>
</body>
</html>
"""


def render(code: ErrorCode, detail: str = "", accept: str = "") -> tuple[str, bytes]:
    """Content type and body of the page for `code`, in the form that the request's `Accept` field asks for."""
    wanted = accept.lower()
    if "text/html" in wanted:
        return "text/html; charset=utf-8", html_page(code, detail).encode()
    if "json" in wanted:
        return "application/json", json_page(code, detail).encode()
    return "text/plain; charset=utf-8", text_page(code, detail).encode()


def html_page(code: ErrorCode, detail: str = "") -> str:
    """The page for browsers: self-contained, light or dark as the visitor's system is."""
    return _HTML.format(
        status=f"Error {code.status}" if code.status else "Error",
        title=escape(code.title),
        detail=f'<p class="detail">{escape(detail)}</p>\n' if detail else "",
        fix=escape(code.fix),
        names=escape(_names(code)),
    )


def json_page(code: ErrorCode, detail: str = "") -> str:
    """The object for programs; its first three fields are those of the API's errors, which follow ngrok's."""
    fields = {
        "error_code": code.ngrok or str(code),
        "status_code": code.status,
        "msg": code.title,
        "fix": code.fix,
        "portico_error_code": str(code),
    }
    if detail:
        fields["detail"] = detail
    return json.dumps(fields) + "\n"


def text_page(code: ErrorCode, detail: str = "") -> str:
    """Plain text for everything else."""
    return "\n".join([code.title, *([detail] if detail else []), code.fix, "", _names(code), ""])


def code_headers(code: ErrorCode) -> list[tuple[str, str]]:
    """The response headers that name the error; no upstream can set them."""
    return [(CODE_HEADER, str(code)), *([(NGROK_CODE_HEADER, code.ngrok)] if code.ngrok else [])]


def mark_fields(code: ErrorCode, mark: str, *, unseen: bool = False) -> list[tuple[str, str]]:
    """What a relay writes into its own pages so that Envoy sets `code_headers`; `mark` is `EdgeFrame.mark_header`.

    `unseen` says that the request may go to another address, whatever its method.
    """
    ngrok = [(ngrok_mark(mark), code.ngrok)] if code.ngrok else []
    return [(mark, str(code.number)), *ngrok, *([(unseen_mark(mark), "1")] if unseen else [])]


def ngrok_mark(mark: str) -> str:
    """The response header beside the mark that carries ngrok's name for the error, where it has one."""
    return f"{mark}-ngrok"


def unseen_mark(mark: str) -> str:
    """The response header of a relay's page for a request of which no upstream has seen anything."""
    return f"{mark}-unseen"


def _names(code: ErrorCode) -> str:
    return f"{code} · {code.ngrok}" if code.ngrok else str(code)
