"""Where requests of policies may go: to public addresses, and to networks that the edge's operator opens."""

import ipaddress
from dataclasses import dataclass
from typing import Final, TypeAlias

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where requests may go."""

    allowed: tuple[IpNetwork, ...] = ()

    def permits(self, address: str) -> bool:
        """Whether this IP may be dialled."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if any(found in network for network in self.allowed):
            return True
        return all(one.is_global and not one.is_multicast for one in _meanings(found))


def _meanings(address: IpAddress) -> list[IpAddress]:
    """The address, and the IPv4 one that it stands for, if any."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    inner = [one for one in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if one is not None]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    # A mapped address is not global itself, however public the one inside.
    return [*inner] if address.ipv4_mapped else [address, *inner]
