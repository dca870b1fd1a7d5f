"""What the operator says about automatic certificates."""

from dataclasses import dataclass, field
from typing import Final

from portico.model.acme import ChallengeKind

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True)
class AcmeDirectory:
    """One certificate authority that speaks ACME."""

    url: str
    ca_file: str | None = None
    """PEM file of whom to trust for `url`, instead of the public authorities."""
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)
    """Binds the account to one that exists at the authority (RFC 8555, 7.3.4); base64url."""
    profile: str = ""
    """Which kind of certificate, where the authority offers several."""


@dataclass(frozen=True, slots=True)
class DnsProvider:
    """Who can write TXT records for some zones: a program, or a provider that dns-lexicon knows."""

    zones: tuple[str, ...] = ()
    """Empty for all."""
    command: str = ""
    provider: str = ""
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """What lexicon's provider wants, such as `auth_token`."""
    wait_seconds: float = 0.0
    """From writing a record until the authority may look for it."""


@dataclass(frozen=True, slots=True)
class AcmeRules:
    """Automatic certificates are on, by these rules."""

    directories: tuple[AcmeDirectory, ...]
    """In the order in which they are asked."""
    email: str
    challenges: tuple[ChallengeKind, ...]
    """In the order of preference."""
    dns: tuple[DnsProvider, ...]
    orders_per_hour: int
    retry_seconds: float
    """Wait after the first failure; it doubles with each."""

    def dns_for(self, name: str) -> DnsProvider | None:
        """Who writes records for `name` (a host or wildcard): the one with the most specific zone."""
        bare = name.removeprefix("*.")
        fit = [
            (len(zone), provider)
            for provider in self.dns
            for zone in provider.zones or ("",)
            if not zone or bare == zone or bare.endswith(f".{zone}")
        ]
        return max(fit, key=lambda one: one[0])[1] if fit else None

    def kinds_for(self, names: tuple[str, ...]) -> tuple[ChallengeKind, ...]:
        """The challenges that can be met for all of `names`, the preferred one first."""
        with_dns = all(self.dns_for(name) for name in names)
        wild = any(name.startswith("*.") for name in names)
        return tuple(kind for kind in self.challenges if (with_dns if kind is ChallengeKind.DNS else not wild))
