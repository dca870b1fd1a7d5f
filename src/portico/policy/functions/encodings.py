"""base64, Basic credentials, JSON, query strings and URLs."""

import base64
import binascii
import json
import urllib.parse
from datetime import datetime, timedelta
from typing import Any, Final

from portico.policy.functions.function import Function

_DEEPEST: Final = 64


def from_base64(text: str) -> bytes:
    """Strict: what is no base64 is ValueError."""
    try:
        found = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("this is no base64") from None
    if len(text) % 4:
        # Python takes padding that is too long: `AAAA=`.
        raise ValueError("this is no base64")
    return found


def to_base64(data: bytes) -> str:
    """With padding."""
    return base64.b64encode(data).decode()


def text_of_base64(text: str) -> str:
    """The same as text; what is no UTF-8 is ValueError, too."""
    try:
        return from_base64(text).decode()
    except UnicodeDecodeError:
        raise ValueError("this is no base64 of UTF-8") from None


def base64_of_text(text: str) -> str:
    """base64 of the text's UTF-8."""
    return to_base64(text.encode())


def basic(username: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    return f"Basic {to_base64(f'{username}:{password}'.encode())}"


def from_json(text: str) -> Any:
    """What JSON says; ValueError for what is no JSON or nested too deeply for anything to come of it."""
    try:
        return _plain(json.loads(text, parse_constant=_no_constant), 0)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None


def _no_constant(name: str) -> Any:
    """Python would read NaN and Infinity, which RFC 8259 does not know."""
    raise ValueError(name)


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    return float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value


def is_json(text: str) -> bool:
    """Whether it is JSON."""
    try:
        from_json(text)
    except ValueError:
        return False
    return True


def to_json(value: Any) -> str:
    """Compact; bytes as base64, times as text."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_encoded, allow_nan=False)
    except (TypeError, RecursionError):
        raise ValueError("this value has no JSON") from None


def _encoded(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return to_base64(bytes(value))
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)


def from_query(text: str) -> dict[str, str]:
    """A query string as a map; of a name that comes twice the first value."""
    pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
    return dict(reversed(pairs))


def to_query(values: dict[Any, Any]) -> str:
    """A map as a query string, sorted by name, so that equal maps give equal texts."""
    return urllib.parse.urlencode(sorted((str(name), _text(value)) for name, value in values.items()))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else to_json(value)


def is_query(text: str) -> bool:
    """Whether every part is `name=value` without white space."""
    parts = text.split("&")
    return all("=" in part and not part.startswith("=") and not any(map(str.isspace, part)) for part in parts)


def escape(text: str) -> str:
    """Percent-encoding of everything but letters, digits and `-_.~`."""
    return urllib.parse.quote(text, safe="")


def parse_url(text: str) -> dict[str, Any]:
    """Scheme, host (with port), path, query, fragment and user, each only where it is there."""
    try:
        url = urllib.parse.urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("this is no URL") from None
    host = (url.hostname or "") + (f":{port}" if port is not None else "")
    parts = {"scheme": url.scheme, "host": host, "path": url.path, "raw_query": url.query, "fragment": url.fragment}
    user = url.netloc.rpartition("@")[0]
    return {name: value for name, value in {**parts, "user": user}.items() if value}


def is_url(text: str) -> bool:
    """Whether it has a scheme and a host."""
    try:
        parts = parse_url(text)
    except ValueError:
        return False
    return "scheme" in parts and "host" in parts


_MAP, _LIST, _DYN = "map<dyn, dyn>", "list<dyn>", "dyn"
_JSON: Final = "the value as JSON"
FUNCTIONS: Final = (
    Function("base64.decode", ("string",), "bytes", from_base64, "bytes of base64"),
    Function("base64.encode", ("bytes",), "string", to_base64, "base64 of bytes"),
    Function("decodeBase64", ("string",), "string", text_of_base64, "text of base64", method=True),
    Function("encodeBase64", ("string",), "string", base64_of_text, "base64 of a text", method=True),
    Function("basic_auth.encode", ("string", "string"), "string", basic, "`Basic …` of a user name and a password"),
    Function("json.decode", ("string",), _DYN, from_json, "the value that JSON says"),
    Function("json.encode", (_LIST,), "string", to_json, _JSON),
    Function("json.encode", (_MAP,), "string", to_json, _JSON),
    Function("encodeJson", (_LIST,), "string", to_json, _JSON, method=True),
    Function("encodeJson", (_MAP,), "string", to_json, _JSON, method=True),
    Function("decodeJson", ("string",), _DYN, from_json, "the value that JSON says", method=True),
    Function("isJson", ("string",), "bool", is_json, "whether it is JSON", method=True),
    Function("queryString.decode", ("string",), "map<string, string>", from_query, "a query string as a map"),
    Function("decodeQueryString", ("string",), "map<string, string>", from_query, "as queryString.decode", method=True),
    Function("queryString.encode", (_MAP,), "string", to_query, "a map as a query string"),
    Function("encodeQueryString", (_MAP,), "string", to_query, "a map as a query string", method=True),
    Function("isQueryString", ("string",), "bool", is_query, "whether it is a query string", method=True),
    Function("url.escape", ("string",), "string", escape, "percent-encoding"),
    Function("escapeUrl", ("string",), "string", escape, "percent-encoding", method=True),
    Function("url.unescape", ("string",), "string", urllib.parse.unquote, "percent-encoding undone"),
    Function("unescapeUrl", ("string",), "string", urllib.parse.unquote, "percent-encoding undone", method=True),
    Function("url.parse", ("string",), "map<string, dyn>", parse_url, "the parts of a URL"),
    Function("parseUrl", ("string",), "map<string, dyn>", parse_url, "the parts of a URL", method=True),
    Function("isURL", ("string",), "bool", is_url, "whether it is a URL with scheme and host", method=True),
)
