"""An endpoint: a public URL and what answers it. Everything that `translate` needs, nothing of how it came to be.

Agents take `tls` and `url` alone, which are a part of this module's face: the rest would slow their start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Final, TypeAlias

from portico.model.balancing import USUAL, Balancing
from portico.model.names import is_internal_host
from portico.model.route import Route
from portico.model.tls import KeyPair, TlsVersion
from portico.model.url import DEFAULT_PORTS, EndpointUrl, Scheme

__all__ = [
    "DEFAULT_PORTS",
    "NOBODY",
    "AddressTls",
    "ClientVerification",
    "EdgeTls",
    "Endpoint",
    "EndpointUrl",
    "HostPort",
    "KeyPair",
    "Networks",
    "Pool",
    "Scheme",
    "TlsVersion",
    "UnixSocket",
    "both",
]


class ClientVerification(StrEnum):
    """What is asked of a visitor's certificate when client authorities are set."""

    REQUIRE = "require-and-verify"
    VERIFY_IF_GIVEN = "verify-if-given"
    REQUIRE_ANY = "require-any"
    """Some certificate, whoever signed it: the upstream judges it."""
    REQUEST = "request"
    """One is asked for; none, or anybody's, will do."""

    @property
    def demands(self) -> bool:
        """Whether a visitor without a certificate stays outside."""
        return self in (ClientVerification.REQUIRE, ClientVerification.REQUIRE_ANY)

    @property
    def verifies(self) -> bool:
        """Whether a certificate that is shown must come from one of the authorities."""
        return self in (ClientVerification.REQUIRE, ClientVerification.VERIFY_IF_GIVEN)


@dataclass(frozen=True, slots=True)
class EdgeTls:
    """TLS that ends at the edge. Nothing set means: automatic certificate, any visitor, 1.2 or better."""

    key_pair: KeyPair | None = None
    """The owner's own pair; None means an automatic certificate."""
    client_authorities: str | None = None
    """PEM of the CAs that may sign visitors' certificates; None means no visitor is asked for one."""
    revocations: str | None = None
    """PEM of the CRLs of those CAs; None means that nothing is revoked."""
    verification: ClientVerification = ClientVerification.REQUIRE
    minimum: TlsVersion = TlsVersion.TLS_1_2
    maximum: TlsVersion = TlsVersion.TLS_1_3

    def fits_all(self, minimum: TlsVersion) -> bool:
        """Whether visitors may share the constant filter chains of an edge with this minimum.

        An own certificate needs no other chain; a minimum below the edge's is raised to it.
        """
        return (
            self.client_authorities is None
            and self.minimum <= minimum  # the text of versions sorts like the versions
            and self.maximum is TlsVersion.TLS_1_3
        )


_EVERYBODY: Final = ("0.0.0.0/0", "::/0")
NOBODY: Final = ("255.255.255.255/32",)
"""An address that no connection comes from, for `Networks.allowed`: an empty tuple there means everybody."""
_Network: TypeAlias = IPv4Network | IPv6Network


def _without(network: _Network, denied: _Network) -> Iterable[_Network]:
    if network.version != denied.version or not network.overlaps(denied):
        return [network]
    return [] if network.subnet_of(denied) else network.address_exclude(denied)  # type: ignore[arg-type]


def _of(networks: Iterable[_Network], version: int) -> list[Any]:
    return [one for one in networks if one.version == version]


@dataclass(frozen=True, slots=True)
class Networks:
    """Which visitors may come in, by address: those of `allowed` (none named: all) who are not in `denied`."""

    allowed: tuple[str, ...] = ()
    """CIDR, IPv4 or IPv6."""
    denied: tuple[str, ...] = ()

    def ranges(self) -> tuple[str, ...]:
        """CIDR of all who may come in, without what is denied; empty where nobody may."""
        left = [ip_network(one) for one in self.allowed or _EVERYBODY]
        for denied in map(ip_network, self.denied):
            left = [part for one in left for part in _without(one, denied)]
        return tuple(str(one) for version in (4, 6) for one in collapse_addresses(_of(left, version)))


def both(one: Networks | None, other: Networks | None) -> Networks | None:
    """Those whom both let in."""
    if one is None or other is None:
        return one or other
    allowed = [_common(a, b) for a in map(ip_network, one.ranges()) for b in map(ip_network, other.ranges())]
    return Networks(tuple(str(network) for network in allowed if network) or NOBODY)


def _common(one: _Network, other: _Network) -> _Network | None:
    if one.version != other.version or not one.overlaps(other):
        return None
    return max(one, other, key=lambda network: network.prefixlen)


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """The socket of a bind, where its relay waits."""

    path: str
    weight: int = 1
    zone: str = ""
    priority: int = 0
    """Addresses of a higher number are for when too few of the lower ones are healthy."""


@dataclass(frozen=True, slots=True)
class AddressTls:
    """TLS that the edge itself speaks to an address, whose certificate is always verified."""

    server_name: str
    """The name, or IP, that the certificate must be for; a name is also sent as SNI."""
    authorities: str | None = None
    """PEM of the CAs to trust; None means the system's."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A service that the edge reaches itself."""

    host: str
    """An IP address, or a name that is looked up before it is published."""
    port: int
    weight: int = 1
    tls: AddressTls | None = None
    zone: str = ""
    priority: int = 0


Address: TypeAlias = UnixSocket | HostPort
"""Where an endpoint's bytes may go. A tunnel is just an address."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses that an endpoint's routes lead to under one name."""

    name: str
    addresses: tuple[Address, ...]
    """None where the pool is known but nothing of it is online."""
    upstream_http: int = 1
    proxy_protocol: bool = False
    host_header: str | None = None
    balancing: Balancing = USUAL
    source: EndpointUrl | None = None
    """The endpoint whose addresses these are, where it is one's."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A public URL with all that serves it; the pool is `addresses`, in a stable order."""

    url: EndpointUrl
    addresses: tuple[Address, ...]
    tls: EdgeTls | None = None
    """None where TLS does not end at the edge: http, tcp, and tls that is passed through."""
    upstream_http: int = 1
    """HTTP version to speak to the upstream (1 or 2), for http and https."""
    proxy_protocol: bool = False
    """Whether the upstream wants a PROXY header (towards agents the version is the relay's matter)."""
    host_header: str | None = None
    """Host header to send instead of the visitor's."""
    networks: Networks | None = None
    """None where everybody may come."""
    traffic_policy: str = ""
    """The rules that visits go through, as the JSON text of a policy that was checked; empty where there are none."""
    balancing: Balancing = USUAL
    """How the load is spread over the addresses, and when one is left out."""
    owner: str = ""
    """Id of whose it is: forward-internal leads to endpoints of the same owner alone."""
    routes: tuple[Route, ...] = ()
    """What does not go to `addresses`. Of an endpoint of bytes: one at most, which has backends and nothing else."""
    pools: tuple[Pool, ...] = ()
    """What routes lead to."""
    metered: bool = False
    """Whether it has figures of its own; else they are in the sum of all others, where any are wanted."""

    @property
    def is_internal(self) -> bool:
        """Whether only the policies of other endpoints lead to it; no visitor's connection does."""
        return is_internal_host(self.url.host)

    @property
    def is_http(self) -> bool:
        """Whether Envoy speaks HTTP for it."""
        return self.url.scheme in (Scheme.HTTP, Scheme.HTTPS)

    def tells_visitor(self, address: Address) -> bool:
        """Whether each connection to `address` begins with a PROXY v2 header that tells the visitor's address.

        A relay always wants it where connections are not shared between visitors, as those that carry HTTP are; others
        only where it was asked for.
        """
        return self.proxy_protocol or (not self.is_http and isinstance(address, UnixSocket))
