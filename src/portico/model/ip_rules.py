"""The rules of IP policies: networks that are let in, and networks that are not."""

import ipaddress
from dataclasses import dataclass
from typing import Final

ALLOW: Final = "allow"
DENY: Final = "deny"


@dataclass(frozen=True, slots=True)
class IpRules:
    """Who is in `allowed`, and not in `denied`, is let in; without `allowed` that is nobody."""

    allowed: tuple[str, ...] = ()
    """CIDR, IPv4 or IPv6."""
    denied: tuple[str, ...] = ()


def canonical_cidr(text: str) -> str:
    """A network, or one address, in the one spelling of CIDR. Raises ValueError that says what to write."""
    try:
        # Python would drop a zone (`%eth0`) without a word; a space makes it what it is: no network.
        network = ipaddress.ip_network(text.strip().replace("%", " "), strict=False)
    except ValueError:
        raise ValueError("it is neither an address nor a network, such as 192.0.2.0/24 or 2001:db8::/32") from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError("visitors with IPv4 are known by their IPv4 addresses; write it as an IPv4 network")
    address = ipaddress.ip_interface(text.strip()).ip
    if address != network.network_address:
        raise ValueError(f"{address} is no network of {network.prefixlen} bits; write {network} or {address}")
    return str(network)
