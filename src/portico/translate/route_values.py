"""The single values of routes: what is wrong with one, in a sentence; an empty text where nothing is."""

import re
from functools import lru_cache
from typing import Final

from portico.model.errors import PorticoError
from portico.model.names import is_ip, is_wildcard, normalize_host
from portico.model.route import PathKind, PathMatch

MAX_PATH: Final = 1_024
"""As Gateway API bounds paths, and expressions for them."""
MAX_VALUE: Final = 4_096
"""Of headers, parameters, and of an answer's body, which Envoy bounds."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
"""RFC 9110, 5.6.2."""
_METHOD: Final = re.compile(r"[A-Z]{1,32}")
_PATH: Final = re.compile(r"/[A-Za-z0-9/\-._~!$&'()*+,;=:@%]*")
"""RFC 3986, 3.3: a path as it is sent."""
_NOT_IN_PATHS: Final = re.compile(r"//|/\.{1,2}(/|$)|%2f|%5c", re.IGNORECASE)
_FORBIDDEN: Final = {
    *("host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("content-length", "portico-error-code", "ngrok-error-code"),
}
_OURS: Final = ("x-edge-", "x-envoy-", "x-forwarded-")


def path_fault(path: PathMatch) -> str:
    """Of a path to match: one that no request has would match nothing."""
    if path.kind is PathKind.REGEX:
        return regex_fault(path.value, MAX_PATH)
    return literal_path_fault(path.value)


def literal_path_fault(path: str) -> str:
    """Of a path as it is: Envoy resolves `.` and `..` in what visitors ask for before routes are looked at."""
    if not _PATH.fullmatch(path):
        return f"{path!r} is no path: it begins with / and has no blank, ? or #, and other characters as %XX"
    if len(path) > MAX_PATH:
        return f"a path has at most {MAX_PATH:,} characters"
    found = _NOT_IN_PATHS.search(path)
    return f"{found[0]!r} does not stand in a path" if found else ""


def regex_fault(pattern: str, longest: int = MAX_VALUE) -> str:
    """Of an RE2 expression."""
    if not pattern:
        return "an expression has something to match"
    if len(pattern) > longest:
        return f"an expression has at most {longest:,} characters"
    if "\0" in pattern:
        return "no request has a NUL"
    fault = _re2_fault(pattern)
    return f"{pattern!r} {fault}" if fault else ""


@lru_cache(1_000)
def _re2_fault(pattern: str) -> str:
    from portico.policy.expressions import regex_fault as fault_of  # 20 MB, for those alone who write expressions

    return fault_of(pattern)


def method_fault(method: str) -> str:
    """Of a request's method."""
    return "" if _METHOD.fullmatch(method) else f"{method!r} is no method; write it in capital letters"


def header_name_fault(name: str) -> str:
    """Of a header to look at."""
    return "" if _TOKEN.fullmatch(name) else f"{name!r} is no header's name"


def changed_name_fault(name: str) -> str:
    """Of a header to change: those of the connection and those that the edge vouches for stay as they are."""
    lower = name.lower()
    if lower == "host":
        return "the Host header is changed by rewrite (host)"
    if lower in _FORBIDDEN or lower.startswith(_OURS):
        return f"{name!r} is not to be changed: connections, or who trusts the edge, depend on it"
    return header_name_fault(name)


def value_fault(value: str) -> str:
    """Of a header's value."""
    if len(value.encode()) > MAX_VALUE:
        return f"a value has at most {MAX_VALUE:,} bytes"
    clean = value == value.strip() and all(character == "\t" or character.isprintable() for character in value)
    return "" if clean else f"{value!r} is no header's value"


def parameter_fault(name: str) -> str:
    """Of the name of a parameter in the query."""
    if not 0 < len(name.encode()) <= MAX_PATH:
        return f"a parameter's name has 1 to {MAX_PATH:,} bytes"
    return "" if name.isprintable() else f"{name!r} is no parameter's name"


def origin_fault(origin: str) -> str:
    """Of the origin of a page, or `*`."""
    if origin == "*":
        return ""
    scheme, mark, host = origin.partition("://")
    if not mark or not re.fullmatch(r"[a-z][a-z0-9+.-]{0,31}", scheme):
        return f"{origin!r} is no origin; write https://HOST, https://*.HOST or *"
    return host_fault(host.removeprefix("*."))


def host_fault(host: str | None) -> str:
    """Of a host with or without a port, as the Host header has it."""
    if host is None:
        return ""
    bare, colon, port = host.rpartition(":") if re.search(r":\d*$", host) and not host.endswith("]") else (host, "", "")
    if colon and not (port and len(port) <= 5 and 0 < int(port) < 65_536):
        return f"{host!r} has no port behind its colon"
    inner = bare.removeprefix("[").removesuffix("]")
    try:
        name = normalize_host(inner) if not is_ip(inner) else inner
    except PorticoError as error:
        return error.message
    return f"{host!r} is a wildcard" if is_wildcard(name) else ""
