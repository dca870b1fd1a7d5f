"""Functions of expressions as Lua: `P.fn[name]` of the runtime, with arguments of the types that it asks for."""

from collections.abc import Callable
from functools import cache
from typing import Final

from portico.policy.functions import functions
from portico.translate.policy.lua import literal
from portico.translate.policy.pieces import NotInLuaError, Piece, call, of_type

_STANDARD: Final[dict[str, tuple[str, ...]]] = {
    "charAt": ("string", "int"),
    "contains": ("string", "string"),
    "endsWith": ("string", "string"),
    "format": ("string", "list"),
    "indexOf": ("string", "string", "int"),
    "join": ("list", "string"),
    "lastIndexOf": ("string", "string", "int"),
    "lowerAscii": ("string",),
    "replace": ("string", "string", "string", "int"),
    "reverse": ("string",),
    "size": ("dyn",),
    "split": ("string", "string", "int"),
    "startsWith": ("string", "string"),
    "strings.quote": ("string",),
    "substring": ("string", "int", "int"),
    "trim": ("string",),
    "upperAscii": ("string",),
    **dict.fromkeys(("getHours", "getMinutes", "getSeconds", "getMilliseconds"), ("moment", "string")),
    **dict.fromkeys(
        ("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth"), ("timestamp", "string")
    ),
}
"""What CEL's functions take."""
_NEVER_FAIL: Final = frozenset(
    {
        "contains",
        "endsWith",
        "indexOf/2",
        "lastIndexOf/2",
        "lowerAscii",
        "reverse",
        "split",
        "startsWith",
        "strings.quote",
        "trim",
        "upperAscii",
        *(f"get{part}/1" for part in ("Hours", "Minutes", "Seconds", "Milliseconds", "Date", "DayOfMonth")),
        *(f"get{part}/1" for part in ("DayOfWeek", "DayOfYear", "FullYear", "Month")),
        *("base64.encode", "encodeBase64", "basic_auth.encode", "isJson", "isURL", "isQueryString"),
        *("url.escape", "escapeUrl", "inCidrRange", "inCidrRanges", "isPrivateIp", "lower", "upper"),
        *("getReqHeader", "hasReqHeader", "getResHeader", "hasResHeader", "hasReqCookie", "hasResCookie"),
        *("getQueryParam", "hasQueryParam", "rand.double", "rand.int/0"),
        *(f"hash.{name}/1" for name in ("crc32", "crc64", "xxhash64", "md5", "sha1", "sha256", "sha512")),
        *(f"{name}/1" for name in ("crc32", "crc64", "xxhash64", "md5", "sha1", "sha256", "sha512")),
    }
)
"""Functions, or those with so many arguments, that have a value for all of the right types."""


def called(name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
    """A call of a function beside operators; a method is called on its first argument. Raises NotInLuaError."""
    if convert := _CONVERSIONS.get(name):
        return convert(name, pieces, type_)
    if inline := _INLINE.get(name):
        found = inline(pieces, type_)
        if found:
            return found
    parameters, steady = _parameters(name, len(pieces))
    fitting = tuple(of_type(piece, kind) for piece, kind in zip(pieces, parameters, strict=False))
    fails = name not in _NEVER_FAIL and f"{name}/{len(pieces)}" not in _NEVER_FAIL
    if not steady:
        fitting = (Piece("v", "dyn"), *fitting)
    return call(f"P.fn[{literal(name)}]", fitting, type_, fails=fails)


@cache
def _parameters(name: str, count: int) -> tuple[tuple[str, ...], bool]:
    """The types that the arguments must have, and whether the function knows nothing of the visit."""
    if name in _STANDARD:
        return _STANDARD[name], True
    overloads = [one for one in functions() if one.name == name and len(one.parameters) == count]
    if not overloads:
        raise NotInLuaError(f"there is no function {name} here")
    columns = zip(*(one.parameters for one in overloads), strict=True)
    return tuple(map(_common, columns)), all(one.steady for one in overloads)


def _common(kinds: tuple[str, ...]) -> str:
    found = {kind if kind == "list<string>" else kind.partition("<")[0] for kind in kinds}
    return " or ".join(sorted(found))


def _to_string(_name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
    (a,) = pieces
    forms = {
        "string": "{}",
        "int": "P.op.int_text({})",
        "uint": "P.op.int_text({})",
        "double": "P.numbers.of_double({})",
        "bool": '({} and "true" or "false")',
        "timestamp": "P.time.text({})",
        "duration": "P.time.text({})",
    }
    if form := forms.get(a.kind):
        return Piece(form.format(a.text), type_, a.fails, a.constant if a.kind == "string" else None)
    return call('P.fn["string"]', pieces, type_, fails=True)


def _to_bytes(_name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
    if pieces[0].kind == "string":
        return call("P.bytes", pieces, type_)
    return call('P.fn["bytes"]', pieces, type_, fails=True)


_SAME: Final = {
    "bool": {"bool"},
    "double": {"double", "int", "uint"},
    "duration": {"duration"},
    "int": {"int", "uint"},
    "timestamp": {"timestamp"},
    "uint": {"uint"},
}
"""What each conversion leaves as it is."""


def _converted(name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
    (a,) = pieces
    if a.kind in _SAME[name]:
        return Piece(a.text, type_, a.fails)
    return call(f"P.fn[{literal(name)}]", pieces, type_, fails=True)


def _to_dyn(_name: str, pieces: tuple[Piece, ...], _type: str) -> Piece:
    (a,) = pieces
    return Piece(a.text, "dyn", a.fails)


_TYPE_NAMES: Final = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}


def _type_of(_name: str, pieces: tuple[Piece, ...], type_: str) -> Piece:
    (a,) = pieces
    if not a.known:
        return call("P.op.type_of", pieces, type_)
    return call("P.op.given", (a, type_named(_TYPE_NAMES.get(a.kind, a.kind))), type_)


_TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "string", "type", "uint"})


def type_named(name: str) -> Piece:
    """The value that a type is. Raises NotInLuaError for one that no value here has."""
    if name not in _TYPES and name not in _TYPE_NAMES.values():
        raise NotInLuaError(f"{name} is no type of values that policies have")
    return Piece(f"P.types[{literal(name)}]", "type")


_CONVERSIONS: Final[dict[str, Callable[[str, tuple[Piece, ...], str], Piece]]] = {
    **dict.fromkeys(_SAME, _converted),
    "string": _to_string,
    "bytes": _to_bytes,
    "dyn": _to_dyn,
    "type": _type_of,
}


def _starts_with(pieces: tuple[Piece, ...], type_: str) -> Piece | None:
    whole, begin = pieces
    if whole.kind != "string" or not isinstance(begin.constant, str):
        return None
    size = len(begin.constant.encode())
    return Piece(f"(({whole.text}):sub(1, {size}) == {begin.text})", type_, whole.fails)


def _contains(pieces: tuple[Piece, ...], type_: str) -> Piece | None:
    whole, wanted = pieces
    if whole.kind != "string" or wanted.kind != "string":
        return None
    return Piece(f"(({whole.text}):find({wanted.text}, 1, true) ~= nil)", type_, whole.fails or wanted.fails)


def _size(pieces: tuple[Piece, ...], type_: str) -> Piece | None:
    (a,) = pieces
    forms = {"string": "P.text.size({})", "list": "({}).n", "map": "(#({}).keys)", "bytes": "(#({}).bytes)"}
    return Piece(forms[a.kind].format(a.text), type_, a.fails) if a.kind in forms else None


_INLINE: Final[dict[str, Callable[[tuple[Piece, ...], str], Piece | None]]] = {
    "startsWith": _starts_with,
    "contains": _contains,
    "size": _size,
}
"""What is plain Lua where the types are known."""
