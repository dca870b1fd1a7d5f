"""Upstream addresses: what people write after `portico http`, as one immutable value."""

import re
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

from portico.model.errors import UPSTREAM_INVALID, PorticoError
from portico.model.value import Value

_HTTPS_PORT: Final = 443
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://|(unix):", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?")


class UpstreamScheme(StrEnum):
    """How the agent speaks to an upstream."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    TLS = "tls"
    UNIX = "unix"
    FILE = "file"


_DEFAULT_PORTS: Final = {UpstreamScheme.HTTP: 80, UpstreamScheme.HTTPS: 443}
_TLS_SCHEMES: Final = frozenset({UpstreamScheme.HTTPS, UpstreamScheme.TLS})


class Upstream(Value, frozen=True):
    """Where an agent sends a visitor's bytes: a host and port, a Unix socket, or a directory that it serves itself."""

    scheme: UpstreamScheme
    host: str = ""
    port: int = 0
    path: str = ""
    """Of the Unix socket or the directory."""

    @property
    def uses_tls(self) -> bool:
        """Whether the agent speaks TLS to it."""
        return self.scheme in _TLS_SCHEMES

    def __str__(self) -> str:
        if self.scheme is UpstreamScheme.UNIX:
            return f"unix:{self.path}"
        if self.scheme is UpstreamScheme.FILE:
            return f"file://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        suffix = "" if _DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{suffix}"


def parse_upstream(address: str | int, *, http: bool = True) -> Upstream:
    """Read an upstream address; `http` tells whether the endpoint speaks HTTP.

    `8080`, `host`, `host:port`, `http(s)://host[:port]`, `tcp://host:port`, `tls://host:port`, `unix:/path`, and
    `file:///directory`. An http endpoint's port 443 means https, as with ngrok.
    Raises PorticoError(UPSTREAM_INVALID) with the reason.
    """
    text = str(address).strip()
    if not text:
        raise _invalid(text, "it is empty")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text) and not _is_path(text):
        raise _invalid(text, "it contains blanks or control characters")
    if "@" in text and not _is_path(text):
        raise _invalid("…@…", "user names and passwords do not belong into an upstream address")
    match = _SCHEME.match(text)
    if match is None:
        return _parse_authority(text, text, None, http=http)
    name = (match[1] or match[2]).lower()
    rest = text[match.end() :]
    if name == UpstreamScheme.UNIX:
        return Upstream(UpstreamScheme.UNIX, path=_socket_path(text, rest))
    if name not in list(UpstreamScheme):
        raise _invalid(text, f"the scheme {name!r} is not known")
    scheme = UpstreamScheme(name)
    if scheme is UpstreamScheme.FILE:
        return _parse_directory(text, http=http)
    authority = rest.removesuffix("/")
    if not authority or authority.startswith(":"):
        raise _invalid(text, "it has no host name")
    if any(mark in authority for mark in "/?#"):
        raise _invalid(text, "it has more than a host and a port")
    return _parse_authority(text, authority, scheme, http=http)


def _is_path(text: str) -> bool:
    return text.lower().startswith(("unix:", "file:")) and "\0" not in text


def _socket_path(text: str, rest: str) -> str:
    path = rest[2:] if rest.startswith("//") else rest
    if not path:
        raise _invalid(text, "it names no socket")
    if "\0" in path:
        raise _invalid(text, "the path contains a NUL")
    return path


def _parse_directory(text: str, *, http: bool) -> Upstream:
    if not http:
        raise _invalid(text, "only http endpoints can serve a directory")
    host, slash, path = text[len("file://") :].partition("/")
    if host not in ("", "localhost") or not slash:
        raise _invalid(text, "the directory must be absolute, as in file:///srv/site")
    directory = "/" + unquote(path)
    if "\0" in directory:
        raise _invalid(text, "the path contains a NUL")
    return Upstream(UpstreamScheme.FILE, path=directory)


def _parse_authority(text: str, authority: str, scheme: UpstreamScheme | None, *, http: bool) -> Upstream:
    host, port_text = _split_authority(text, authority)
    port = _port(text, port_text) if port_text is not None else None
    if scheme is None:
        scheme = UpstreamScheme.TCP
        if http:
            scheme = UpstreamScheme.HTTPS if port == _HTTPS_PORT else UpstreamScheme.HTTP
    port = port or _DEFAULT_PORTS.get(scheme)
    if port is None:
        raise _invalid(text, "it has no port")
    return Upstream(scheme, host=host, port=port)


def _split_authority(text: str, authority: str) -> tuple[str, str | None]:
    if authority.isdecimal():
        return "localhost", authority
    if authority.startswith("["):
        host, bracket, tail = authority[1:].partition("]")
        if not bracket or not _IPV6.fullmatch(host) or ":" not in host or (tail and not tail.startswith(":")):
            raise _invalid(text, "the IPv6 address is malformed")
        return host, tail[1:] if tail else None
    host, colon, port = authority.partition(":")
    if ":" in port:
        raise _invalid(text, "an IPv6 address needs brackets, as in [::1]:8080")
    if not host:
        host = "localhost"
    if not _HOST.fullmatch(host):
        raise _invalid(text, f"{host!r} is not a host name")
    return host, port if colon else None


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65_536):
        raise _invalid(text, f"{port!r} is not a port (1 to 65535)")
    return int(port)


def _invalid(text: str, reason: str) -> PorticoError:
    return PorticoError(UPSTREAM_INVALID, f"{text!r} is not an upstream: {reason}")
