"""The owner's databases of the places and networks of addresses, in MaxMind's format."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GeoDatabases:
    """Paths of files; empty where there is none of that kind."""

    city: str = ""
    country: str = ""
    asn: str = ""
    """Autonomous systems."""
    anonymous: str = ""
    """Addresses of anonymizers, exits of Tor among them."""

    def __bool__(self) -> bool:
        return any((self.city, self.country, self.asn, self.anonymous))
