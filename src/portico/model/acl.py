"""What a credential may bind: rules `*` and `bind:<pattern>`, in the language of ngrok's credentials.

A pattern is a domain, `*.` and a domain (every name below it, and the wildcard itself), `host:port` for tcp,
`key=value` for labelled binds with `*` on either side, or `*`. No rules at all permit everything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from portico.model.endpoint import EndpointUrl, Scheme
from portico.model.errors import ACL_INVALID, PorticoError
from portico.model.names import covers, normalize_host

PREFIX: Final = "bind:"
_ADDRESS: Final = re.compile(r"(.+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Acl:
    """The rules of one credential, checked."""

    rules: tuple[str, ...] = ()
    """As they were written."""

    @classmethod
    def of(cls, rules: Sequence[str]) -> Self:
        """Check rules that somebody wrote. Raises PorticoError(ACL_INVALID), naming all that are wrong."""
        wrong = [rule for rule in rules if not _is_rule(rule)]
        if wrong:
            raise PorticoError(ACL_INVALID, "\n".join(f"{rule!r} is no ACL rule" for rule in wrong))
        return cls(tuple(rules))

    def permits(self, url: EndpointUrl) -> bool:
        """Whether a bind may have this URL."""
        return not self.rules or any(_permits_url(rule, url) for rule in self.rules)

    def permits_labels(self, labels: dict[str, str]) -> bool:
        """Whether a labelled bind may have these labels: every one of them has to be permitted."""
        return not self.rules or all(
            any(_permits_label(rule, key, value) for rule in self.rules) for key, value in labels.items()
        )


EVERYTHING: Final = Acl()
"""No rules."""


def _is_rule(rule: str) -> bool:
    if rule == "*":
        return True
    pattern = rule.removeprefix(PREFIX)
    if pattern == rule or not pattern or not pattern.isprintable():
        return False
    if pattern == "*":
        return True
    if "=" in pattern:
        return all(pattern.split("=", 1))
    if address := _ADDRESS.fullmatch(pattern):
        return _is_host(address[1]) and 0 < int(address[2]) < 65_536
    return _is_host(pattern)


def _is_host(text: str) -> bool:
    try:
        normalize_host(text)
    except PorticoError:
        return False
    return True


def _permits_url(rule: str, url: EndpointUrl) -> bool:
    pattern = rule.removeprefix(PREFIX)
    if pattern == "*":
        return True
    if "=" in pattern:
        return False
    address = _ADDRESS.fullmatch(pattern)
    if url.scheme is Scheme.TCP:
        return address is not None and int(address[2]) == url.port and _covers(address[1], url.host)
    return address is None and _covers(pattern, url.host)


def _covers(pattern: str, host: str) -> bool:
    name = normalize_host(pattern)
    return name == host or covers(name, host)


def _permits_label(rule: str, key: str, value: str) -> bool:
    pattern = rule.removeprefix(PREFIX)
    if pattern == "*":
        return True
    wanted_key, equals, wanted_value = pattern.partition("=")
    return bool(equals) and wanted_key in ("*", key) and wanted_value in ("*", value)
