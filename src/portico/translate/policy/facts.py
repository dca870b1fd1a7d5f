"""Variables that Lua cannot ask Envoy for, and other parts of it can tell: they come as private headers.

A policy that reads one has filters before its first Lua that write the headers which its expressions read, and no
others (`runtime/facts.lua` reads them, and takes them away). What a visitor has sent under those names is taken first.
Substitution formats: https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter
"""

from collections.abc import Iterable
from typing import Final

from portico.model.errors import NOT_SERVED, PorticoError
from portico.model.geoip import GeoDatabases
from portico.translate.typed import Body, extension

FINGERPRINT: Final = "conn.tls.ja4_fingerprint"
_HEADER: Final = "x-edge-fact-"
_FORMATS: Final = {
    # When the request began, and how many microseconds after the connection.
    "conn.ts.start": "%START_TIME(%s.%6f)% %COMMON_DURATION(DS_CX_BEG:DS_RX_BEG:us)%",
    FINGERPRINT: "%TLS_JA4_FINGERPRINT%",
    "conn.tls.client.san.ip_addresses": "%DOWNSTREAM_PEER_IP_SAN%",
    "conn.tls.server.san.ip_addresses": "%DOWNSTREAM_LOCAL_IP_SAN%",
}
_LOCATION: Final = "conn.client_ip.geo.location."
_FIELDS: Final = {
    "conn.geo.city": "city",
    "conn.geo.country_code": "country",
    "conn.geo.subdivision": "region",
    f"{_LOCATION}city": "city",
    f"{_LOCATION}country_code": "country",
    f"{_LOCATION}subdivision": "region",
    "conn.client_ip.as.number": "asn",
    "conn.client_ip.as.organization": "asn_org",
    "conn.client_ip.is_tor_node": "anon_tor",
}
"""What Envoy calls a field of the databases."""
_KINDS: Final = {"city": "city", "region": "city", "asn": "ASN", "asn_org": "ASN", "anon_tor": "anonymous"}

_NO_DATABASE: Final = "?"

FACTS: Final = frozenset((*_FORMATS, *_FIELDS))
GEO: Final = frozenset(_FIELDS)


def header_of(variable: str) -> str:
    """The private header of a fact: its letters alone, `_` and `.` as `-`."""
    return _HEADER + _FIELDS.get(variable, variable).replace("_", "-").replace(".", "-")


HEADERS: Final = sorted({header_of(name) for name in FACTS})
"""All of them."""


def fact_filters(variables: Iterable[str], databases: GeoDatabases) -> tuple[list[Body], list[Body]]:
    """What writes the facts among these variables: filters that do not wait, and filters that may.

    What is read of a database that is not there fails; `refuse_unknown_places` says so before.
    """
    wanted = FACTS.intersection(variables)
    if not wanted:
        return [], []
    nowhere = {header_of(name): _NO_DATABASE for name in wanted & GEO if not _path(_FIELDS[name], databases)}
    values = {header_of(name): source for name, source in _FORMATS.items() if name in wanted} | nowhere
    written = [
        {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
        for key, value in sorted(values.items())
    ]
    mutations = {"request_mutations": [*({"remove": name} for name in HEADERS), *written]}
    writer = extension(
        "policy-facts", "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", mutations=mutations
    )
    fields = {_FIELDS[name] for name in wanted & GEO if _path(_FIELDS[name], databases)}
    return [writer], [_geoip(fields, databases)] if fields else []


def refuse_unknown_places(variables: Iterable[str], databases: GeoDatabases) -> None:
    """Raises PorticoError(NOT_SERVED) where one of them is in a database that this edge has not."""
    for name in sorted(GEO.intersection(variables)):
        field = _FIELDS[name]
        if not _path(field, databases):
            kind = _KINDS.get(field, "city or country")
            raise PorticoError(
                NOT_SERVED,
                f"{name} cannot be had: this edge has no {kind} database of addresses",
                fix="Ask the edge's operator for one (`geoip_databases`), or leave the variable out.",
            )


def _path(field: str, databases: GeoDatabases) -> str:
    if field == "country":
        return databases.country or databases.city
    return {"city": databases.city, "ASN": databases.asn}.get(_KINDS[field], databases.anonymous)


def _geoip(fields: set[str], databases: GeoDatabases) -> Body:
    files = {
        "city_db_path": databases.city if fields & {"city", "region", "country"} else "",
        "country_db_path": databases.country if "country" in fields else "",
        "asn_db_path": databases.asn if fields & {"asn", "asn_org"} else "",
        "anon_db_path": databases.anonymous if "anon_tor" in fields else "",
    }
    provider = extension(
        "maxmind",
        "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig",
        **{key: path for key, path in files.items() if path},
        common_provider_config={
            "geo_field_keys": {field: _HEADER + field.replace("_", "-") for field in sorted(fields)}
        },
    )
    return extension("policy-places", "envoy.extensions.filters.http.geoip.v3.Geoip", provider=provider)
