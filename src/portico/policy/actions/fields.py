"""The kinds of values that actions are configured with. A message says what is wanted and never what was given."""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, StrictBool, StrictInt

from portico.policy.effects import CONTROLS
from portico.policy.expressions import regex_fault
from portico.policy.functions.addresses import network
from portico.policy.template import Template, parse_template

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING: Final = frozenset(
    ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
"""Headers of one connection, and those that say where a message ends (RFC 9110, 7.6.1; RFC 9112, 6)."""
_EDGES_OWN: Final = "x-edge-"
"""What the edge finds its way by."""
_Value = TypeVar("_Value")


def text(value: Any) -> str:
    """Text, not what merely could become one."""
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")  # noqa: TRY004  (what pydantic gathers)
    return value


def _template(value: Any) -> Template:
    return value if isinstance(value, Template) else parse_template(text(value))


def _secret(value: Any) -> Template:
    return value if isinstance(value, Template) else parse_template(text(value), hidden=True)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    written = text(value)
    if not written or _PART.sub("", written):
        raise ValueError("must be a duration such as 10s, 1m30s or 24h")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(written)))


def _header(value: Any) -> str:
    if not _TOKEN.fullmatch(text(value)):
        raise ValueError("is no name of a header (RFC 9110)")
    name = str(value).lower()
    if name in _FRAMING or name.startswith(_EDGES_OWN):
        raise ValueError("is the edge's own matter: it would change where a message ends or where it goes")
    return name


def _field(template: Template) -> Template:
    if any(isinstance(part, str) and CONTROLS.search(part) for part in template.parts):
        raise ValueError("has a control character or a line break, which a header cannot have")
    return template


def _regex(template: Template) -> Template:
    if template.literal is not None and (reason := regex_fault(template.literal)):
        raise ValueError(reason)
    return template


def as_python(pattern: str) -> str:
    """An RE2 pattern as Python's `re` writes it."""
    return pattern.replace(r"\z", r"\Z").replace(r"\C", r"(?s:.)")


def _cidr(template: Template) -> Template:
    if template.literal is not None and network(template.literal) is None:
        raise ValueError("is neither an address nor a network such as 10.0.0.0/8")
    return template


def _address(template: Template) -> Template:
    if template.literal is not None and not template.literal.startswith(("http://", "https://")):
        raise ValueError("must be an http or https URL")
    return template


def _frozen(value: Mapping[str, _Value]) -> Mapping[str, _Value]:
    return MappingProxyType(dict(value))


def nothing() -> Mapping[str, str]:
    """An empty mapping that nobody changes."""
    return MappingProxyType({})


def no_headers() -> Mapping[str, Template]:
    """The same of headers."""
    return MappingProxyType({})


def between(low: str, high: str) -> AfterValidator:
    """Bounds of a duration, both included."""
    shortest, longest = _duration(low), _duration(high)

    def check(value: timedelta) -> timedelta:
        if not shortest <= value <= longest:
            raise ValueError(f"must be between {low} and {high}")
        return value

    return AfterValidator(check)


Text = Annotated[str, BeforeValidator(text)]
Whole = StrictInt
Switch = StrictBool
Interpolated = Annotated[Template, PlainValidator(_template)]
Address = Annotated[Template, PlainValidator(_template), AfterValidator(_address)]
Secret = Annotated[Template, PlainValidator(_secret)]
Regex = Annotated[Template, PlainValidator(_template), AfterValidator(_regex)]
Cidr = Annotated[Template, PlainValidator(_template), AfterValidator(_cidr)]
Duration = Annotated[timedelta, PlainValidator(_duration)]
HeaderName = Annotated[str, PlainValidator(_header)]
FieldValue = Annotated[Template, PlainValidator(_template), AfterValidator(_field)]
Headers = Annotated[Mapping[HeaderName, FieldValue], Field(max_length=10), AfterValidator(_frozen)]
TextByName = Annotated[Mapping[str, Text], AfterValidator(_frozen)]
