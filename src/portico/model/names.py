"""Host names as endpoints use them: validation (RFC 1123), wildcards, random names."""

# Sixty words a line are easier to read and to extend than sixty literals:
# ruff: noqa: SIM905

import ipaddress
import re
from typing import Final

from portico.model.errors import URL_INVALID, PorticoError

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
MAX_HOST_LENGTH: Final = 253

_FIRST: Final = """
amber autumn bold brave bright calm clear cool crisp dawn deep eager early fair fresh gentle glad golden grand
green hazel ivory jade keen kind lively lucky lunar mellow merry mild misty noble north olive open pale plain
proud quick quiet rapid royal ruby silent silver smooth solar sunny swift tidy vivid warm wide wild wise young
zesty
""".split()
_SECOND: Final = """
arch atrium bay beacon bridge brook canyon cedar cliff cloud coast column comet cove crane creek delta dune
falcon fern field fjord forest garden gate glade grove harbor heron hill island lagoon lake lark maple marsh
meadow mesa moon moss ocean orchard otter palm pier pine plaza pond porch prairie reef ridge river robin shore
spring stone summit terrace tide tower valley willow wren
""".split()


def is_ip(text: str) -> bool:
    """Whether this is an IP address, version 4 or 6, and so no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def normalize_host(host: str) -> str:
    """The one spelling of a host name: lower case, IDNA for other scripts, no trailing dot; `*.` may lead.

    Raises PorticoError(URL_INVALID) for what no DNS name can be.
    """
    name = host.strip().rstrip(".").lower()
    wildcard, bare = (True, name[2:]) if name.startswith("*.") else (False, name)
    if not bare.isascii():
        try:
            bare = bare.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise PorticoError(URL_INVALID, f"{host!r} is not a host name: {error}") from None
    labels = bare.split(".")
    if len(bare) > MAX_HOST_LENGTH or not all(_LABEL.fullmatch(label) for label in labels):
        raise PorticoError(
            URL_INVALID,
            f"{host!r} is not a host name",
            fix="Use letters, digits and hyphens, with dots between labels.",
        )
    return f"*.{bare}" if wildcard else bare


INTERNAL_SUFFIX: Final = ".internal"
"""ICANN keeps this top-level name for private use (2024); here it stands for what only forward-internal reaches."""


def is_internal_host(host: str) -> bool:
    """Whether `host` is a name of internal endpoints."""
    return host.endswith(INTERNAL_SUFFIX)


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for every name below it."""
    return host.startswith("*.")


def covers(pattern: str, host: str) -> bool:
    """Whether `pattern` (a name, or `*.` and a name) answers for `host`.

    A wildcard covers names of any depth below its base, and not the base itself.
    """
    return host.endswith(pattern[1:]) and host != pattern if is_wildcard(pattern) else pattern == host


def candidates(host: str) -> list[str]:
    """What may answer for `host`, most specific first: a.b.c → a.b.c, *.b.c, *.c."""
    labels = host.removeprefix("*.").split(".")
    return [host, *("*." + ".".join(labels[start:]) for start in range(1, len(labels)))]


def random_name(domain: str) -> str:
    """A new name under `domain`, two words and four characters: about 3.8 billion, so a collision is a retry."""
    import secrets  # brings hashes and HMAC, which agents, who make no names, do without

    tail = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(4))
    return f"{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}-{tail}.{domain}"
