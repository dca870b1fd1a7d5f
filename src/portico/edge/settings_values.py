"""The values that settings are made of: how each is written, and what is wrong with it when it is not one.

Every parser takes what YAML or a command line gives and raises ValueError with a sentence for the person who wrote it.
"""

# pydantic collects ValueErrors and lets TypeErrors through:
# ruff: noqa: TRY004

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from portico.model.acme import ChallengeKind
from portico.model.edge import SocketAddress
from portico.model.endpoint import EndpointUrl
from portico.model.errors import PorticoError
from portico.model.names import is_ip, is_wildcard, normalize_host

_P = ParamSpec("_P")
_T = TypeVar("_T")
MAX_PORT: Final = 65_535
MIN_AUTHTOKEN_LENGTH: Final = 16
MAX_AUTHTOKEN_LENGTH: Final = 1_000
_DIGITS: Final = re.compile(r"[0-9]{1,5}")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{8,1000}={0,2}")
_OWNER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class PortRange:
    """The ports `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1


def _port(text: str, *, lowest: int) -> int:
    if not _DIGITS.fullmatch(text) or not lowest <= int(text) <= MAX_PORT:
        raise ValueError(f"{text!r} is not a port ({lowest} to {MAX_PORT})")
    return int(text)


def parse_ip(value: object) -> str:
    """An IP address in its usual spelling; `localhost` is 127.0.0.1."""
    text = "127.0.0.1" if value == "localhost" else value
    if isinstance(text, str):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            pass
        else:
            if getattr(address, "scope_id", None) is None:
                return str(address)
    raise ValueError(f"{value!r} is not an IP address, such as 0.0.0.0 or ::1")


def parse_address(value: object) -> SocketAddress:
    """`IP:PORT`, `[IPv6]:PORT` or `:PORT` (every IPv4 address); port 0 lets the edge choose a free one."""
    if isinstance(value, SocketAddress):
        return value
    if not isinstance(value, str) or ":" not in value:
        raise ValueError(f"{value!r} is not an address: write IP:PORT, such as 0.0.0.0:8443")
    host, _, port = value.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        raise ValueError(f"{value!r} is not an address: write an IPv6 address in brackets, such as [::]:8443")
    return SocketAddress(parse_ip(host[1:-1] if bracketed else host or "0.0.0.0"), _port(port, lowest=0))  # noqa: S104


def parse_optional_address(value: object) -> SocketAddress | None:
    """As `parse_address`; `off` (which YAML reads as false) switches the listener off."""
    return None if value is None or value is False or value == "off" else parse_address(value)


def parse_port_range(value: object) -> PortRange:
    """`A-B`, both included, or one port."""
    if isinstance(value, PortRange):
        return value
    first, dash, last = str(value).replace(" ", "").partition("-")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("ports are written A-B, such as 20000-20999")
    ports = PortRange(_port(first, lowest=1), _port(last if dash else first, lowest=1))
    if ports.first > ports.last:
        raise ValueError(f"the range {value} runs backwards; write the lower port first")
    return ports


def parse_domain(value: object) -> str:
    """A host name that names can be put under: no wildcard, no IP address."""
    name = parse_name(value)
    if is_ip(name):
        raise ValueError(f"{value!r} is an IP address; give a name, such as tunnels.example.com")
    if is_wildcard(name):
        raise ValueError(f"{value!r} is a wildcard; give the name without `*.`")
    return name


def parse_name(value: object) -> str:
    """A host name or wildcard in its one spelling."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a host name")
    return explained(normalize_host, value)


def parse_url(value: object) -> EndpointUrl:
    """The URL of an endpoint."""
    if isinstance(value, EndpointUrl):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a URL")
    return explained(EndpointUrl.parse, value)


def explained(call: Callable[_P, _T], *args: _P.args, **options: _P.kwargs) -> _T:
    """What `call` returns; its PorticoError is told as a ValueError."""
    try:
        return call(*args, **options)
    except PorticoError as error:
        raise ValueError(f"{error.message}: {error.fix}") from None


def sound(fault: Callable[[str], str]) -> Callable[[str], str]:
    """A validator of a text of which `fault` tells what is wrong, in words, or nothing."""

    def checked(text: str) -> str:
        if words := fault(text):
            raise ValueError(words)
        return text

    return checked


def parse_owner_name(value: object) -> str:
    """What an owner is called in the file, the log and the metrics."""
    if not isinstance(value, str) or not _OWNER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not an owner's name: use lower-case letters, digits and . _ -, at most 63")
    return value


def parse_authtoken(value: object) -> SecretStr:
    """An owner's own token. It is never part of a message."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        raise ValueError("an authtoken is text; put it in quotes")
    if not MIN_AUTHTOKEN_LENGTH <= len(text) <= MAX_AUTHTOKEN_LENGTH:
        raise ValueError(f"an authtoken has {MIN_AUTHTOKEN_LENGTH} to {MAX_AUTHTOKEN_LENGTH} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("an authtoken has printable ASCII characters only, and no space")
    return SecretStr(text)


def read_authtoken(value: object) -> SecretStr:
    """The token that the named file holds (surrounding white space is not part of it)."""
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str | Path):
        raise ValueError("authtoken_file is the path of a file")
    text = text_of(Path(value), "utf-8").strip()
    try:
        return parse_authtoken(text)
    except ValueError as error:
        raise ValueError(f"{str(value)!r}: {error}") from None


def parse_database(value: object) -> SecretStr:
    """The URL of a PostgreSQL database. Its password is in it, so it is never part of a message."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    scheme, mark, rest = text.strip().partition("://") if isinstance(text, str) else ("", "", "")
    try:
        parts = urlsplit(f"//{rest}")
        is_url = scheme in ("postgresql", "postgres") and bool(mark) and parts.port != 0
    except ValueError:  # its words may have a part of the password in them
        is_url = False
    if not is_url:
        raise ValueError(
            "the database is a URL, postgresql://user:password@host:port/name, with %XX for special characters"
        )
    if not parts.path.strip("/"):
        raise ValueError("the URL names no database: postgresql://user:password@host:port/name")
    return SecretStr(f"postgresql://{rest}")


def read_database(value: object) -> SecretStr:
    """The URL that the named file holds (surrounding white space is not part of it)."""
    if isinstance(value, SecretStr):
        return value
    if not isinstance(value, str | Path):
        raise ValueError("database_file is the path of a file")
    try:
        return parse_database(text_of(parse_path(value), "utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(value)!r}: {error}") from None


def parse_switch(value: object) -> bool:
    """`on` or `off`, which YAML reads as true and false."""
    if isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise ValueError(f"{value!r} is neither on nor off")
    return value == "on"


def parse_email(value: object) -> str:
    """An address for mail; only what no address can be is refused."""
    if not isinstance(value, str) or not _EMAIL.fullmatch(value):
        raise ValueError(f"{value!r} is not an e-mail address")
    return value


def parse_challenges(value: object) -> tuple[ChallengeKind, ...]:
    """Kinds of ACME challenges in the order of preference, as a list or with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError("give at least one kind of challenge")
    known = ", ".join(ChallengeKind)
    kinds = []
    for part in parts:
        name = part.strip() if isinstance(part, str) else part
        if name not in list(ChallengeKind):
            raise ValueError(f"{part!r} is not a kind of challenge; there are {known}")
        kinds.append(ChallengeKind(name))
    return tuple(dict.fromkeys(kinds))


def parse_networks(value: object) -> tuple[str, ...]:
    """Networks of policies, as a list or with commas. Raises ValueError."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("give a list of networks such as 10.0.0.0/8")
    found = []
    for part in parts:
        try:
            found.append(str(ipaddress.ip_network(part.strip() if isinstance(part, str) else "", strict=True)))
        except ValueError:
            raise ValueError(f"{part!r} is no network such as 10.0.0.0/8") from None
    return tuple(found)


def parse_directory_url(value: object) -> str:
    """The URL of an ACME directory: https, since an authority is believed (RFC 8555, 6.1)."""
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme != "https" or not parts.hostname:
        raise ValueError(f"{value!r} is not the https URL of an ACME directory")
    return parts.geturl()


def parse_authorities_file(value: object) -> Path:
    """The path of a PEM file with CA certificates, which must be there."""
    read_pem(value)
    return parse_path(value)


def read_pem(value: object, what: str = "CERTIFICATE") -> str:
    """The text of the named PEM file, which must hold a certificate."""
    path = parse_path(value)
    text = text_of(path, "ascii")
    if not re.search(rf"-----BEGIN [A-Z ]*{what}-----", text):
        raise ValueError(f"{str(path)!r} has no PEM {what.lower()}")
    return text


def read_secret_pem(value: object) -> SecretStr:
    """The text of the named PEM file, which must hold a private key. It is never part of a message."""
    return SecretStr(read_pem(value, "PRIVATE KEY"))


def text_of(path: Path, encoding: str) -> str:
    """The text of a file. Raises ValueError."""
    try:
        return path.read_text(encoding)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"cannot read {str(path)!r}: {reason}") from None


def parse_hmac_key(value: object) -> SecretStr:
    """The key that an authority gives for external account binding (base64url). It is never part of a message."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        raise ValueError("the key is not base64url text")
    return SecretStr(text.rstrip("="))


def parse_path(value: object) -> Path:
    """A path; `~` is the user's home."""
    if not isinstance(value, Path) and (not isinstance(value, str) or not value or "\0" in value):
        raise ValueError(f"{value!r} is not a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError(f"{str(value)!r} begins with a user who has no home here") from None
