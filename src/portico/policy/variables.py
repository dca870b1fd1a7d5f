"""The variables of expressions: name, type, the phases that know it, and why some cannot be had here.

Names, types and meanings follow https://ngrok.com/docs/traffic-policy/variables/. A field below another variable
(`req.url` and `req.url.path`) is a variable of its own, as there.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from portico.policy import phases
from portico.policy.phases import Phase

TEXT, NUMBER, TRUTH, TIME, ANY = "string", "int", "bool", "timestamp", "dyn"
TEXTS: Final = "list<string>"
LISTS_BY_NAME: Final = "map<string, list<string>>"
COOKIES: Final = "map<string, list<map<string, dyn>>>"
TEXT_BY_NAME: Final = "map<string, string>"
OBJECT: Final = "map<string, dyn>"

_NOT_IN_PLACES: Final = "Envoy reads city, country_code and subdivision of its databases, and no more"
_NOT_OF_NODES: Final = "Envoy looks visitors up in its databases, not the node's own address"
_NO_REPUTATION: Final = "no database that Envoy reads has it"
_NO_PODS: Final = "an edge outside Kubernetes knows no pods"
_NO_BROWSERS: Final = "this edge does not take User-Agent apart; match req.user_agent itself"
_ONE_REGION: Final = "an edge has no regions; conn.server_ip tells its nodes apart"
_MANY_IDS: Final = "a pool has many; endpoint.url names it"
_NOT_TOLD: Final = "no part of Envoy tells it"
_NOT_BEFORE: Final = "Envoy's filters are told it when the body is there, and policies run before"
_IN_THE_PEM: Final = "Envoy tells it with all else in conn.tls.client.pem"
_JOINED: Final = "Envoy joins them by commas, which such an address may contain"
_AT_THE_END: Final = "bytes are counted when the connection has ended, in the access log"


@dataclass(frozen=True, slots=True)
class Variable:
    """One name that expressions may use."""

    name: str
    type: str
    """In CEL's words: `string`, `list<string>`, `map<string, dyn>` …"""
    meaning: str
    phases: tuple[Phase, ...] = phases.ALL
    missing: str = ""
    """Why it cannot be had here; empty where it can."""


def _connection() -> list[Variable]:
    return [
        Variable("conn.client_ip", TEXT, "address that the connection came from"),
        Variable("conn.client_port", NUMBER, "port that the connection came from"),
        Variable("conn.server_ip", TEXT, "address that the connection arrived at"),
        Variable("conn.server_port", NUMBER, "port that the connection arrived at"),
        Variable("conn.server_region", TEXT, "region of the node", missing=_ONE_REGION),
        Variable("conn.ts.start", TIME, "when the connection began"),
        Variable("conn.bytes_in", NUMBER, "bytes from the visitor", phases.HTTP, _AT_THE_END),
        Variable("conn.bytes_out", NUMBER, "bytes to the visitor", phases.HTTP, _AT_THE_END),
        Variable("conn.tls.cipher_suite", TEXT, "cipher suite of the handshake"),
        Variable("conn.tls.ja4_fingerprint", TEXT, "JA4 fingerprint of the handshake"),
        Variable("conn.tls.negotiated_alpn", TEXT, "protocol agreed on in the handshake"),
        Variable("conn.tls.session_resumed", TRUTH, "whether the TLS session was resumed", missing=_NOT_TOLD),
        Variable("conn.tls.sni", TEXT, "server name that the visitor asked for"),
        Variable("conn.tls.version", TEXT, "version of TLS"),
        *_certificate("conn.tls.client", "the visitor's certificate"),
        *_certificate("conn.tls.server", "the certificate shown to the visitor"),
    ]


_CLIENTS_UNTOLD: Final = {
    "extensions": _IN_THE_PEM,
    "san": _IN_THE_PEM,
    "san.email_addresses": f"{_JOINED}; conn.tls.client.pem has them apart",
    "signature_algorithm": _IN_THE_PEM,
}
_SERVERS_TOLD: Final = ("san.dns_names", "san.ip_addresses", "san.uris")
"""Of the certificate shown to visitors, beside its subject."""


def _untold(name: str, *, of_server: bool) -> str:
    if not of_server:
        return _CLIENTS_UNTOLD.get(name, "")
    if name.startswith("subject") or name in _SERVERS_TOLD:
        return ""
    return _JOINED if name == "san.email_addresses" else _NOT_TOLD


def _certificate(prefix: str, whose: str) -> list[Variable]:
    fields = [
        ("extensions", "list<map<string, dyn>>", "extensions (id, critical, value)"),
        ("pem", TEXT, "PEM"),
        ("san", TEXT, "alternative names"),
        ("san.dns_names", TEXTS, "DNS names among the alternative names"),
        ("san.email_addresses", TEXTS, "e-mail addresses among the alternative names"),
        ("san.ip_addresses", TEXTS, "addresses among the alternative names"),
        ("san.uris", TEXTS, "URIs among the alternative names"),
        ("serial_number", TEXT, "serial number"),
        ("signature_algorithm", TEXT, "signature algorithm"),
        ("validity.not_after", TIME, "end of validity"),
        ("validity.not_before", TIME, "begin of validity"),
    ]
    several = ("country", "locality", "organization", "organizational_unit", "postal_code", "province")
    for party in ("issuer", "subject"):
        fields += [(party, TEXT, f"{party} as a distinguished name"), (f"{party}.common_name", TEXT, "common name")]
        fields += [(f"{party}.{name}", TEXTS, name.replace("_", " ")) for name in (*several, "street_address")]
    server = prefix.endswith("server")
    return [
        Variable(f"{prefix}.{name}", kind, f"{meaning} of {whose}", missing=_untold(name, of_server=server))
        for name, kind, meaning in fields
        if not (server and name == "pem")
    ]


LOOKED_UP: Final = ("city", "country_code", "subdivision")
"""What Envoy tells of a place."""
_DATABASE: Final = "where the edge has such a database"


def _places() -> list[Variable]:
    short = ("city", "country", "country_code", "latitude", "longitude", "radius", "subdivision")
    found = [_place(f"conn.geo.{name}", name) for name in short]
    more = ("city", "continent", "country", "country_code", "metro_code", "subdivision", "timezone", "postal_code")
    for where in ("location", "registered_location"):
        names = (*more, "latitude", "longitude", "radius") if where == "location" else more[:-1]
        for address in ("conn.client_ip", "conn.server_ip"):
            prefix = f"{address}.geo.{where}"
            known = address == "conn.client_ip" and where == "location"
            why = _NOT_IN_PLACES if address == "conn.client_ip" else _NOT_OF_NODES
            found += [
                _place(f"{prefix}.{name}", name) if known else _unknown(f"{prefix}.{name}", why) for name in names
            ]
            found.append(Variable(f"{prefix}.is_eu", TRUTH, "whether in the European Union", missing=why))
    for address, why in (("conn.client_ip", ""), ("conn.server_ip", _NOT_OF_NODES)):
        found += [
            Variable(f"{address}.categories", TEXTS, "categories of the address", missing=why or _NO_REPUTATION),
            Variable(f"{address}.is_on_blocklist", TRUTH, "whether a blocklist has it", missing=why or _NO_REPUTATION),
            Variable(f"{address}.is_tor_node", TRUTH, f"whether it is an exit of Tor ({_DATABASE})", missing=why),
            Variable(f"{address}.as.number", NUMBER, f"number of its autonomous system ({_DATABASE})", missing=why),
            Variable(f"{address}.as.organization", TEXT, f"holder of that system ({_DATABASE})", missing=why),
        ]
    pod = {"id": TEXT, "metadata.name": TEXT, "metadata.namespace": TEXT, "metadata.annotations": TEXT_BY_NAME}
    pod |= {"metadata.error_code": TEXT, "metadata.error_message": TEXT}
    return [
        *found,
        *(Variable(f"conn.k8s.pod.{name}", kind, "the visiting pod", missing=_NO_PODS) for name, kind in pod.items()),
    ]


def _place(name: str, field: str) -> Variable:
    meaning = {
        "country_code": "country of the visitor in two letters",
        "subdivision": "code of the part of that country, such as `BY`",
    }
    told = f"{meaning.get(field, f'{field} of the visitor')} ({_DATABASE})"
    return Variable(name, TEXT, told, missing="" if field in LOOKED_UP else _NOT_IN_PLACES)


def _unknown(name: str, why: str) -> Variable:
    return Variable(name, TEXT, name.rpartition(".")[2], missing=why)


def _endpoint() -> list[Variable]:
    return [
        Variable("endpoint.addr", TEXT, "host and port of the endpoint"),
        Variable("endpoint.host", TEXT, "host name of the endpoint"),
        Variable("endpoint.id", TEXT, "id of the endpoint", missing=_MANY_IDS),
        Variable("endpoint.port", NUMBER, "port of the endpoint"),
        Variable("endpoint.protocol", TEXT, "`http`, `https`, `tcp` or `tls`"),
        Variable("endpoint.url", TEXT, "URL of the endpoint"),
    ]


def _message(of: str, known: tuple[Phase, ...]) -> list[Variable]:
    """What a request and a response have in common."""
    name = "request" if of == "req" else "response"
    return [
        Variable(f"{of}.content_encoding", TEXTS, f"Content-Encoding of the {name}", known),
        Variable(f"{of}.content_length", NUMBER, f"length of the {name}'s body in bytes, where it says so", known),
        Variable(f"{of}.content_type", TEXT, f"media type of the {name}", known),
        Variable(f"{of}.content_type.parameters", TEXT_BY_NAME, "parameters of Content-Type", known),
        Variable(f"{of}.content_type.raw", TEXT, "Content-Type as it was sent", known),
        Variable(f"{of}.cookies", COOKIES, f"cookies of the {name}: a list of objects for each name", known),
        Variable(f"{of}.headers", LISTS_BY_NAME, f"headers of the {name}, by lower-case name", known),
        Variable(f"{of}.location", TEXT, f"Location header of the {name}", known),
        Variable(f"{of}.trailers", LISTS_BY_NAME, f"trailers of the {name}, by lower-case name", known),
    ]


def _request() -> list[Variable]:
    own = [
        ("host", TEXT, "Host header"),
        ("method", TEXT, "method"),
        ("ts.header_received", TIME, "when the headers had arrived"),
        ("url", TEXT, "the whole URL, normalized"),
        ("url.authority", TEXT, "user, host and port of the URL"),
        ("url.host", TEXT, "host of the URL"),
        ("url.path", TEXT, "path, with its first slash"),
        ("url.port", NUMBER, "port, where the URL has one"),
        ("url.query", TEXT, "query, without its question mark"),
        ("url.query_params", LISTS_BY_NAME, "query parameters by name"),
        ("url.raw", TEXT, "the whole URL as it was sent"),
        ("url.raw_path", TEXT, "path as it was sent"),
        ("url.scheme", TEXT, "scheme"),
        ("url.uri", TEXT, "path and query"),
        ("url.user_password", TEXT, "`user:password` of the URL"),
        ("user_agent", TEXT, "User-Agent header"),
        ("version", TEXT, "version of HTTP"),
    ]
    texts, truths = ("name", "version", "os", "os_version", "device", "url"), ("mobile", "tablet", "desktop", "bot")
    browser = [(name, TEXT) for name in texts] + [(f"is_{name}", TRUTH) for name in truths]
    return [
        *_message("req", phases.HTTP),
        *(Variable(f"req.{name}", kind, meaning, phases.HTTP) for name, kind, meaning in own),
        Variable("req.ts.body_received", TIME, "when the body had arrived", phases.HTTP, _NOT_BEFORE),
        *(
            Variable(f"req.user_agent.{name}", kind, "part of User-Agent", phases.HTTP, _NO_BROWSERS)
            for name, kind in browser
        ),
    ]


RETRY: Final = (
    Variable("attempts", NUMBER, "attempts so far, in `retry_condition` of http-request alone", phases.HTTP),
    Variable("last_attempt", OBJECT, "`req`, `res` and `error` of the last attempt, as `attempts`", phases.HTTP),
)


@cache
def variables() -> dict[str, Variable]:
    """All variables but those of actions, by name."""
    rows = [
        *_connection(),
        *_places(),
        *_endpoint(),
        *_request(),
        *_message("res", (Phase.HTTP_RESPONSE,)),
        Variable("res.status_code", NUMBER, "status of the response", (Phase.HTTP_RESPONSE,)),
        Variable("time.now", TEXT, "the time, UTC, as RFC 3339 writes it; `timestamp(time.now)` counts with it"),
        Variable("vars", OBJECT, "what set-vars has set"),
        *RETRY,
    ]
    return {row.name: row for row in rows}
