"""Certificates that a public authority issues by itself (ACME, RFC 8555): what the edge knows and keeps of them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from portico.model.endpoint import KeyPair


class ChallengeKind(StrEnum):
    """How control over a name is shown."""

    HTTP = "http-01"
    """RFC 8555, 8.3: an answer on port 80."""
    TLS_ALPN = "tls-alpn-01"
    """RFC 8737: a certificate on port 443."""
    DNS = "dns-01"
    """RFC 8555, 8.4: a TXT record; the only one for wildcards."""


@dataclass(frozen=True, slots=True)
class AcmeAccount:
    """The edge's account at one authority."""

    directory: str
    """URL of the authority's directory."""
    key_id: str
    """The id of the external account that it is bound to, or nothing."""
    uri: str
    key: str = field(repr=False)
    """PEM."""


@dataclass(frozen=True, slots=True)
class AcmeChallenge:
    """A challenge that is under way: what any node of the edge answers for `host`."""

    kind: ChallengeKind
    host: str
    token: str
    answer: str
    """The key authorization (RFC 8555, 8.1)."""


@dataclass(frozen=True, slots=True)
class AcmeCertificate:
    """One automatic certificate through its whole life: wanted, ordered, issued, renewed."""

    name: str
    """The name or wildcard that it is known by; the first of `names`."""
    names: tuple[str, ...]
    pair: KeyPair | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    directory: str = ""
    """Who issued it."""
    renew_at: datetime | None = None
    failures: int = 0
    """Orders that failed since the last that succeeded."""
    last_error: str = ""
    next_attempt: datetime | None = None
    """Not before this moment, after a failure."""

    def covers(self, host: str) -> bool:
        """Whether it is for `host`, by name or by a wildcard of one label (RFC 6125)."""
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


@dataclass(frozen=True, slots=True)
class AutomaticState:
    """How one automatic certificate does, for the API, the metrics and the log."""

    name: str
    names: tuple[str, ...]
    state: str
    """`pending` (first order), `valid`, `renewing` (valid, but renewal fails), `failing` (none, and orders fail)."""
    not_after: datetime | None
    directory: str
    """URL of the directory of who issued it."""
    last_error: str
    failures: int
    """Orders that failed since the last that succeeded."""
    next_attempt: datetime | None
    """When it is next ordered or looked after."""
    renews_at: datetime | None
