"""The kinds of value that keys of the configuration file take, each saying what is wrong in its own words."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST: Final = 24 * 3600.0


class Section(BaseModel):
    """A part of the file: immutable, and closed to keys it does not know. A key without a value counts as absent."""

    # defer_build: a command builds the validators of the models that it uses, and no others.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


def seconds(value: object) -> object:
    """Seconds of a duration such as `10s` or `1m30s` (Go's notation, as ngrok's files have it)."""
    if not isinstance(value, str):
        return value
    if not _DURATION.fullmatch(value.strip()):
        raise ValueError("must be a duration such as 10s, 500ms or 1m30s")
    total = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    if not 0 < total <= _LONGEST:
        raise ValueError("must be more than nothing and at most 24h")
    return total


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _boolean(value: object) -> object:
    """YAML 1.1 and Go agree on few spellings; these are the ones both know."""
    if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return value.lower() in ("true", "yes", "on")
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _credential(value: SecretStr) -> SecretStr:
    name, _, password = value.get_secret_value().partition(":")
    if not (name and password):
        raise ValueError("must be user:password")
    return value


def _header(value: str) -> str:
    name, colon, _ = value.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) or re.search(r"[\r\n\0]", value):
        raise ValueError("must be name:value")
    return value


def _network(value: str) -> str:
    import ipaddress

    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be a network such as 10.0.0.0/8 or an IP address") from None
    return value


Duration = Annotated[float, BeforeValidator(seconds)]
Flag = Annotated[bool, BeforeValidator(_boolean)]
Metadata = Annotated[str, Field(max_length=4096)]
ProxyVersion = Annotated[Literal["", "1", "2"], BeforeValidator(lambda value: str(value).removeprefix("v"))]
TlsMinimum = Annotated[Literal["1.2", "1.3"], BeforeValidator(str)]
HttpVersion = Literal["http1", "http2"]
Credential = Annotated[SecretStr, AfterValidator(_credential)]
Header = Annotated[str, AfterValidator(_header)]
Network = Annotated[str, AfterValidator(_network)]

Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Credentials = Annotated[tuple[Credential, ...], BeforeValidator(_as_list)]
Headers = Annotated[tuple[Header, ...], BeforeValidator(_as_list)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_as_list)]
