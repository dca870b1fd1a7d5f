"""The kinds of value that keys of the configuration file take, each saying what is wrong in its own words."""

import re
from collections.abc import Callable
from typing import Any, Final

from portico.cli.config.section import NOT_A_MAPPING, Fault, KeyPath, Reader, Section

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST: Final = 24 * 3600.0


class Secret:
    """Text that nothing shows by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return self._text == other.reveal() if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('**********')" if self._text else "Secret('')"


class One(Reader):
    """A single value: `convert` gives it, or raises ValueError in words for the person who wrote it."""

    def __init__(self, words: str, convert: Callable[[Any], Any]) -> None:
        self.words = words
        self._convert = convert

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """See `Reader`."""
        try:
            return self._convert(value)
        except ValueError as error:
            faults.append(Fault(path, str(error)))


class Many(Reader):
    """A list of values; alone, text counts as a list of one, but not where the length is limited to `at_most`."""

    def __init__(self, each: Reader, at_most: int | None = None, *, alone: bool = True) -> None:
        self.words = f"list: {each.words}"
        self._each = each
        self._at_most = at_most
        self._alone = alone

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """See `Reader`."""
        items = [value] if self._alone and isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            faults.append(Fault(path, "must be a list"))
            return None
        before = len(faults)
        read = tuple(self._each.read(item, (*path, index), faults) for index, item in enumerate(items))
        if self._at_most is not None and len(read) > self._at_most and len(faults) == before:
            unit = "item" if self._at_most == 1 else "items"
            faults.append(Fault(path, f"must have at most {self._at_most} {unit}, not {len(read)}"))
        return read


class Named(Reader):
    """A mapping of names of the owner's choice to values."""

    words = "mapping"

    def __init__(self, each: Reader) -> None:
        self._each = each

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """See `Reader`."""
        if not isinstance(value, dict):
            faults.append(Fault(path, NOT_A_MAPPING))
            return None
        return {name: self._each.read(below, (*path, name), faults) for name, below in value.items()}


class Part(Reader):
    """A section below a key."""

    words = ""

    def __init__(self, section: type[Section]) -> None:
        self.section = section

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """See `Reader`."""
        assert self.section is not None
        return self.section.read_part(value, path, faults)


class Either(Reader):
    """A mapping, or what the other reader takes."""

    def __init__(self, mapping: Named, other: Reader) -> None:
        self.words = f"{other.words} or {mapping.words}"
        self._mapping = mapping
        self._other = other

    def read(self, value: object, path: KeyPath, faults: list[Fault]) -> Any:
        """See `Reader`."""
        return (self._mapping if isinstance(value, dict) else self._other).read(value, path, faults)


def text(at_least: int = 0, at_most: int | None = None, convert: Callable[[Any], Any] | None = None) -> One:
    """Text of so many characters; `convert` goes before."""

    def check(value: object) -> str:
        said = _text(convert(value) if convert else value)
        if len(said) < at_least:
            raise ValueError(f"must have at least {_characters(at_least)}")
        if at_most is not None and len(said) > at_most:
            raise ValueError(f"must have at most {_characters(at_most)}")
        return said

    return One("text", check)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("must be text")


def _characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def one_of(*choices: str, convert: Callable[[Any], Any] | None = None) -> One:
    """One of some words; `convert` goes before. The empty one is not spoken of."""
    spoken = [choice for choice in choices if choice]

    def check(value: object) -> str:
        value = convert(value) if convert else value
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError(f"must be {', '.join(spoken[:-1])} or {spoken[-1]}{_meant(str(value), spoken)}")

    return One(", ".join(f"`{choice}`" for choice in spoken), check)


def _meant(value: str, choices: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(value.lower(), choices, n=1)
    return f"; did you mean {near[0]}?" if near and near[0].isalpha() else ""


def whole_number(at_least: int, at_most: int | None = None) -> One:
    """A whole number between bounds, both included."""

    def check(value: Any) -> int:
        try:
            number = value if type(value) is int else int(_plain(value))
        except ValueError:
            raise ValueError("must be a whole number") from None
        if number < at_least:
            raise ValueError(f"must be greater than or equal to {at_least}")
        if at_most is not None and number > at_most:
            raise ValueError(f"must be less than or equal to {at_most}")
        return number

    return One("whole number", check)


def share() -> One:
    """A number between 0 and 1, both excluded."""

    def check(value: Any) -> float:
        try:
            number = float(value if type(value) in (int, float) else _plain(value))
        except ValueError:
            raise ValueError("must be a number") from None
        if not number > 0:
            raise ValueError("must be greater than 0")
        if not number < 1:
            raise ValueError("must be less than 1")
        return number

    return One("number", check)


def _plain(value: object) -> str:
    if not isinstance(value, str) or "_" in value:
        raise ValueError
    return value


def _seconds(value: object) -> float:
    """Seconds of a duration such as `10s` or `1m30s` (Go's notation, as ngrok's files have it)."""
    part = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)"
    if not isinstance(value, str) or not re.fullmatch(f"(?:{part})+", value.strip()):
        raise ValueError("must be a duration such as 10s, 500ms or 1m30s")
    total = sum(float(number) * _UNITS[unit] for number, unit in re.findall(part, value))
    if not 0 < total <= _LONGEST:
        raise ValueError("must be more than nothing and at most 24h")
    return total


def _boolean(value: object) -> bool:
    """YAML 1.1 and Go agree on few spellings; these are the ones both know."""
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return value.lower() in ("true", "yes", "on")
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _mapping(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError(NOT_A_MAPPING)


def _secret(value: object) -> Secret:
    return Secret(_text(value))


def _credential(value: object) -> Secret:
    secret = _text(value)
    name, _, password = secret.partition(":")
    if not (name and password):
        raise ValueError("must be user:password")
    return Secret(secret)


def _header(value: object) -> str:
    line = _text(value)
    name, colon, _ = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or re.search(r"[\r\n\0]", line):
        raise ValueError("must be name:value")
    return line


def _network(value: object) -> str:
    import ipaddress

    network = _text(value)
    try:
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        raise ValueError("must be a network such as 10.0.0.0/8 or an IP address") from None
    return network


DURATION: Final = One("duration", _seconds)
SWITCH: Final = One("true or false", _boolean)
TEXT: Final = text()
METADATA: Final = text(at_most=4096)
MAPPING: Final = One("mapping", _mapping)
SECRET: Final = One("secret", _secret)
PROXY_VERSION: Final = one_of("", "1", "2", convert=lambda value: str(value).removeprefix("v"))
TLS_MINIMUM: Final = one_of("1.2", "1.3", convert=str)
HTTP_VERSION: Final = one_of("http1", "http2")

TEXTS: Final = Many(TEXT)
CREDENTIALS: Final = Many(One("secret", _credential))
HEADERS: Final = Many(One("text", _header))
NETWORKS: Final = Many(One("text", _network))
