"""Addresses and the networks they are in."""

import ipaddress
from functools import lru_cache
from typing import Final

from portico.policy.functions.function import Function

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PRIVATE: Final = tuple(ipaddress.ip_network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""RFC 1918."""


@lru_cache(1024)
def network(cidr: str) -> Network | None:
    """The network, whatever its host bits; an address alone is a network of one. None for what is neither.

    One of IPv4 addresses inside IPv6 is the IPv4 network, as in Go: visitors' addresses are read so, too.
    """
    try:
        found = ipaddress.ip_network(cidr.strip(), strict=False)
    except ValueError:
        return None
    inner = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) else None
    return ipaddress.IPv4Network((inner, found.prefixlen - 96)) if inner else found


def address(text: str) -> Address | None:
    """The address; an IPv4 address inside IPv6 is the IPv4 address. None for what is none."""
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found


def in_network(ip: str, cidr: str) -> bool:
    """Whether the address is in the network; what is neither is in none."""
    found, where = address(ip), network(cidr)
    return found is not None and where is not None and found.version == where.version and found in where


def in_networks(ip: str, cidrs: list[str]) -> bool:
    """Whether it is in one of them."""
    return any(in_network(ip, cidr) for cidr in cidrs)


def is_private(ip: str) -> bool:
    """Whether RFC 1918 keeps the address for private networks."""
    found = address(ip)
    return found is not None and any(found.version == where.version and found in where for where in _PRIVATE)


FUNCTIONS: Final = (
    Function("inCidrRange", ("string", "string"), "bool", in_network, "whether an address is in a network"),
    Function("inCidrRanges", ("string", "list<string>"), "bool", in_networks, "whether it is in one of several"),
    Function("isPrivateIp", ("string",), "bool", is_private, "whether an address is private (RFC 1918)", method=True),
)
