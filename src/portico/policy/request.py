"""A request and its response, described by whoever asks for an explanation, as the variables of expressions."""

import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from portico.model.errors import OPTION_INVALID, PorticoError
from portico.model.names import is_ip
from portico.policy.results import result_roots
from portico.policy.variables import ANY, LOOKED_UP, NUMBER, OBJECT, TEXT, TIME, TRUTH, variables

_PORTS: Final = {"http": 80, "https": 443, "tls": 443}
_SCHEMES: Final = (*_PORTS, "tcp")
_LONGEST_URL: Final = 65_536
_PLACES: Final = (
    *(f"{of}.{name}" for of in ("conn.geo", "conn.client_ip.geo.location") for name in LOOKED_UP),
    "conn.client_ip.as.organization",
)
"""What databases tell of an address; nothing of one that is nobody's."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What is asked about. `facts` are more variables, by whole name, and win over everything else."""

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    client_ip: str = "192.0.2.1"
    """An address of RFC 5737, which is nobody's."""
    body: str | None = None
    status: int = 200
    response_headers: Sequence[tuple[str, str]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    @property
    def http(self) -> bool:
        """Whether it goes beyond `on_tcp_connect`."""
        return self.url.lower().startswith(("http:", "https:"))


def url_values(url: str) -> dict[str, Any]:
    """`req.url` and everything below it. What has no port keeps `req.url.port` unknown."""
    parts = urllib.parse.urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    port = parts.port if parts.port != _PORTS.get(parts.scheme) else None
    netloc = shown + (f":{port}" if port is not None else "")
    user = parts.netloc.rpartition("@")[0]
    path = parts.path or "/"
    uri = path + (f"?{parts.query}" if parts.query else "")
    values: dict[str, Any] = {
        "req.url": f"{parts.scheme}://{user}{'@' if user else ''}{netloc}{uri}",
        "req.url.raw": url,
        "req.url.authority": f"{user}{'@' if user else ''}{netloc}",
        "req.url.host": host,
        "req.url.path": urllib.parse.unquote(path, errors="replace"),
        "req.url.raw_path": path,
        "req.url.query": parts.query,
        "req.url.query_params": urllib.parse.parse_qs(parts.query, keep_blank_values=True),
        "req.url.scheme": parts.scheme,
        "req.url.uri": uri,
        "req.url.user_password": user,
    }
    return values if port is None else {**values, "req.url.port": port}


def connection_values(visit: Visit) -> dict[str, Any]:
    """What is known when the connection is there. Raises PorticoError(OPTION_INVALID)."""
    parts = _checked(visit)
    port = parts.port or _PORTS[parts.scheme]
    host = (parts.hostname or "").lower()
    values: dict[str, Any] = {
        "conn.client_ip": visit.client_ip,
        "conn.client_port": 50_000,
        "conn.server_port": port,
        "conn.ts.start": visit.now,
        **dict.fromkeys(_PLACES, ""),
        "conn.client_ip.as.number": 0,
        "conn.client_ip.is_tor_node": False,
        "endpoint.addr": f"{host}:{port}",
        "endpoint.host": host,
        "endpoint.port": port,
        "endpoint.protocol": parts.scheme,
        "endpoint.url": f"{parts.scheme}://{host}",
        "time.now": visit.now.isoformat().replace("+00:00", "Z"),
        "vars": {},
    }
    if parts.scheme in ("https", "tls"):
        values |= {"conn.tls.sni": host, "conn.tls.version": "1.3"}
    return {**values, **_given(visit.facts, ("conn", "endpoint", "time", "vars", "actions"))}


def request_values(visit: Visit) -> dict[str, Any]:
    """What is known when the request has come."""
    parts = _checked(visit)
    headers = {"host": [parts.netloc.rpartition("@")[2]], **by_name(visit.headers)}
    headers |= {
        # The edge writes these anew, before any rule.
        "x-forwarded-for": [visit.client_ip],
        "x-forwarded-host": headers["host"],
        "x-forwarded-port": [str(parts.port or _PORTS[parts.scheme])],
        "x-forwarded-proto": [parts.scheme],
    }
    if visit.body is not None:
        headers.setdefault("content-length", [str(len(visit.body.encode()))])
    values = {
        **_message("req", headers),
        **url_values(visit.url),
        "req.method": visit.method,
        "req.host": headers["host"][0],
        "req.cookies": _cookies(headers.get("cookie", [])),
        "req.user_agent": next(iter(headers.get("user-agent", [])), ""),
        "req.ts.header_received": visit.now,
        "req.version": "HTTP/2.0",
    }
    if visit.body is not None:
        values["req.body"] = visit.body
    return {**values, **_given(visit.facts, ("req",))}


def response_values(visit: Visit) -> dict[str, Any]:
    """What is known when the upstream has answered."""
    headers = by_name(visit.response_headers)
    values = {
        **_message("res", headers),
        "res.status_code": visit.status,
        "res.cookies": _set_cookies(headers.get("set-cookie", [])),
    }
    return {**values, **_given(visit.facts, ("res",))}


def by_name(headers: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Headers as expressions see them."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Variables by whole name of nested objects. Raises PorticoError(OPTION_INVALID) for unknown names."""
    found = dict(_flat(facts, ""))
    for name in found:
        if name.partition(".")[0] not in ("conn", "endpoint", "req", "res", "time", "vars", "actions"):
            raise PorticoError(OPTION_INVALID, f"there is no variable {name[:60]}")
    return found


def _flat(facts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{prefix}{key}"
        known = name in variables() or name in result_roots() or name in ("req.body", "res.body")
        # `req.url` is a text, and there are variables below it.
        below = isinstance(value, Mapping) and not (name in variables() and variables()[name].type.startswith("map"))
        if below and name not in result_roots():
            yield from _flat(value, f"{name}.")
        elif known:
            yield name, _typed(name, value)
        else:
            raise PorticoError(OPTION_INVALID, f"there is no variable {name[:60]}")


def _typed(name: str, value: Any) -> Any:
    """The value as the variable's type has it. JSON has no times."""
    kind = variables()[name].type if name in variables() else OBJECT if name in result_roots() else TEXT
    if kind == TIME and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise PorticoError(OPTION_INVALID, f"{name} is a time such as 2026-01-02T03:04:05Z") from None
    if not _fits(value, kind):
        raise PorticoError(OPTION_INVALID, f"{name} is {kind}")
    return value


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("map<"):
        inner = kind.removeprefix("map<").removesuffix(">").partition(", ")[2]
        return isinstance(value, Mapping) and all(_fits(item, inner) for item in value.values())
    if kind.startswith("list<"):
        return isinstance(value, list) and all(_fits(item, kind.removeprefix("list<")[:-1]) for item in value)
    if kind in (NUMBER, TRUTH):
        return isinstance(value, bool) is (kind == TRUTH) and isinstance(value, int)
    return kind == ANY or isinstance(value, str)


def _given(facts: Mapping[str, Any], roots: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name.partition(".")[0] in roots}


def _checked(visit: Visit) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(visit.url)
        port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and bool(port)
    except ValueError:
        usable = False
    if not usable or len(visit.url) > _LONGEST_URL:
        raise PorticoError(OPTION_INVALID, "the request needs a URL such as https://host/path or tcp://host:port")
    if not is_ip(visit.client_ip):
        raise PorticoError(OPTION_INVALID, "the visitor's address is no IP address")
    return parts


def _message(of: str, headers: dict[str, list[str]]) -> dict[str, Any]:
    raw = next(iter(headers.get("content-type", [])), "")
    media, *parameters = (part.strip() for part in raw.split(";"))
    named = (parameter.partition("=") for parameter in parameters)
    values: dict[str, Any] = {
        f"{of}.headers": headers,
        f"{of}.trailers": {},
        f"{of}.content_type": media.lower(),
        f"{of}.content_type.raw": raw,
        f"{of}.content_type.parameters": {name.lower(): value.strip('"') for name, _, value in named if name},
        f"{of}.content_encoding": [
            coding.strip() for value in headers.get("content-encoding", []) for coding in value.split(",")
        ],
        f"{of}.location": next(iter(headers.get("location", [])), ""),
    }
    length = next(iter(headers.get("content-length", [])), "")
    return {**values, f"{of}.content_length": int(length)} if length.isdecimal() and len(length) < 19 else values


def _cookies(headers: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for pair in (pair.strip() for header in headers for pair in header.split(";")):
        name, equals, value = pair.partition("=")
        if equals and name:
            found.setdefault(name, []).append({"name": name, "value": value.strip('"')})
    return found


def _set_cookies(headers: list[str]) -> dict[str, list[dict[str, Any]]]:
    """RFC 6265 5.2, as far as expressions see it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for header in headers:
        pair, *attributes = (part.strip() for part in header.split(";"))
        name, equals, value = pair.partition("=")
        if not equals or not name:
            continue
        given = {key.lower(): item for key, _, item in (attribute.partition("=") for attribute in attributes)}
        cookie = {
            "name": name,
            "value": value.strip('"'),
            "domain": given.get("domain", ""),
            "path": given.get("path", ""),
            "same_site": given.get("samesite", ""),
            "secure": "secure" in given,
            "http_only": "httponly" in given,
        }
        found.setdefault(name, []).append(cookie)
    for cookies in found.values():
        cookies.sort(key=lambda cookie: -len(cookie["path"]))
    return found
