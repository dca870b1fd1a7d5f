"""The setting of the databases that say where addresses are: files in MaxMind's format, told apart by what they say."""

from pathlib import Path
from typing import Final

from portico.edge.settings_values import parse_path
from portico.model.geoip import GeoDatabases

_KINDS: Final = {"city": "city", "enterprise": "city", "country": "country", "asn": "asn", "anonymous": "anonymous"}
"""Words of a file's `database_type` (GeoLite2-City, DBIP-ASN-Lite …), and the kind that they mean."""
_SOMEBODY: Final = ("192.0.2.1", "2001:db8::1")


def parse_databases(value: object) -> GeoDatabases:
    """Files as a list or with commas, each of another kind. Raises ValueError."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(value, GeoDatabases):
        return value
    if not isinstance(parts, list | tuple):
        raise ValueError("give a list of files such as /var/lib/GeoIP/GeoLite2-City.mmdb")  # noqa: TRY004 - pydantic's
    found: dict[str, str] = {}
    for part in parts:
        path = parse_path(part.strip() if isinstance(part, str) else part).absolute()
        kind = _kind(path)
        if kind in found:
            raise ValueError(f"{path} and {found[kind]} are both {kind} databases; give one of a kind")
        found[kind] = str(path)
    return GeoDatabases(**found)


def _kind(path: Path) -> str:
    # Imported here, for the few edges that have one.
    import maxminddb

    try:
        with maxminddb.open_database(path) as database:
            written = database.metadata().database_type
            for address in _SOMEBODY[: 1 if database.metadata().ip_version == 4 else 2]:
                database.get(address)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is none, or damaged"
        raise ValueError(f"{path} cannot be read as a database of addresses (.mmdb): {reason}") from None
    for word, kind in _KINDS.items():
        if word in written.lower():
            return kind
    raise ValueError(f"{path} is of the kind {written!r}; City, Country, ASN and Anonymous-IP are read here")
