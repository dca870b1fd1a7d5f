"""Where requests of policies may go: to public addresses, and to networks that the edge's operator opens."""

import ipaddress
from dataclasses import dataclass
from typing import Final, TypeAlias

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052."""
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that is given out to the Internet (IANA). Python calls global what is not known to be private, and so site-local
addresses, a provider's own NAT64 (RFC 8215) and IPv4 addresses in forms that have been given up."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests may go."""

    allowed: tuple[IpNetwork, ...] = ()

    def permits(self, address: str) -> bool:
        """Whether this IP may be dialled."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if any(found in network for network in self.allowed):
            return True
        return all(one.is_global and not one.is_multicast and _given_out(one) for one in _meanings(found))


def _given_out(address: IpAddress) -> bool:
    return isinstance(address, ipaddress.IPv4Address) or address in _UNICAST


def _meanings(address: IpAddress) -> list[IpAddress]:
    """The address, and the IPv4 one that it stands for, if any; that alone where the form only carries it."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
    return [address, *(one for one in (address.sixtofour, *(address.teredo or ())) if one is not None)]
