"""Small databases of addresses in MaxMind's format, made anew: nothing of anybody's data."""

from pathlib import Path
from typing import Any, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from portico.model.geoip import GeoDatabases

_CITY: Final = {
    "city": {"names": {"en": "München"}},
    "country": {"iso_code": "DE", "names": {"en": "Germany"}},
    "subdivisions": [{"iso_code": "BY", "names": {"en": "Bavaria"}}],
}
_SYSTEM: Final = {"autonomous_system_number": 64_500, "autonomous_system_organization": "Test Net"}
_TOR: Final = {"is_anonymous": True, "is_tor_exit_node": True}


def write_database(path: Path, kind: str, entries: dict[str, dict[str, Any]]) -> Path:
    """A database of that `database_type`, by network."""
    writer = MMDBWriter(6, kind, languages=["en"], ipv4_compatible=True, int_type="u32")
    for network, entry in entries.items():
        writer.insert_network(IPSet([network]), entry)
    writer.to_db_file(str(path))
    return path


def databases(directory: Path) -> GeoDatabases:
    """One of each kind, in which 127.0.0.1 is in Munich, and 127.0.0.2 an exit of Tor."""
    return GeoDatabases(
        city=str(write_database(directory / "city.mmdb", "GeoLite2-City", {"127.0.0.1/32": _CITY})),
        asn=str(write_database(directory / "asn.mmdb", "GeoLite2-ASN", {"127.0.0.1/32": _SYSTEM})),
        anonymous=str(write_database(directory / "anonymous.mmdb", "GeoIP2-Anonymous-IP", {"127.0.0.2/32": _TOR})),
    )
