"""What browsers tell of themselves, and where they may be led. Pure."""

from typing import Final

from portico.gate.questions import Visit

HEADERS: Final = (
    "accept",
    "access-control-request-method",
    "origin",
    "sec-fetch-mode",
    "x-requested-with",
)
"""Headers of the request that are looked at."""
LONGEST_PATH: Final = 2_000


def is_preflight(visit: Visit) -> bool:
    """Whether a browser asks if a script may send its request (CORS)."""
    return visit.method == "OPTIONS" and {"origin", "access-control-request-method"} <= visit.headers.keys()


def is_navigation(visit: Visit) -> bool:
    """Whether a browser wants to show the answer as a page, so that it can be led elsewhere."""
    headers = visit.headers
    if visit.method not in ("GET", "HEAD") or headers.get("x-requested-with", "").lower() == "xmlhttprequest":
        return False
    if mode := headers.get("sec-fetch-mode"):
        return mode == "navigate"
    return "text/html" in headers.get("accept", "").lower()


def path_of_host(path: str) -> str:
    """A path of this host. What could lead elsewhere, or break a header, is the root."""
    good = path.startswith("/") and len(path) <= LONGEST_PATH and path.isascii() and path.isprintable()
    return path if good and not set(path) & {" ", "\\"} else "/"
