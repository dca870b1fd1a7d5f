"""Tls endpoints whose TLS ends at the edge and whose policy decides connections: the gate is asked after the handshake.

Before it nothing is known of the visitor's certificate, and no upstream is to hear of a visitor whose certificate is
not verified yet. The filters of one chain cannot wait for the handshake, so the bytes within TLS go to a listener of
Envoy's own, behind a PROXY header that tells who came and what TLS has told.
"""

import hashlib
from pathlib import PurePath
from typing import Final, NamedTuple

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.translate import names
from portico.translate.access_log import TLS_FACTS
from portico.translate.byte_policies import CERTIFICATE, gate_filters
from portico.translate.clusters import BUFFER_BYTES, own_cluster
from portico.translate.resource import LISTENER, Resource
from portico.translate.typed import Body, extension, pipe


class _Fact(NamedTuple):
    kind: int
    """Of the extension (TLV) of the PROXY header: 0xE0 to 0xEF are for applications."""
    name: str
    text: str
    """As Envoy writes it where TLS ends."""
    variable: str = ""


_FACTS: Final = (
    _Fact(0xE0, "version", "%DOWNSTREAM_TLS_VERSION%", "conn.tls.version"),
    _Fact(0xE1, "server_name", "%REQUESTED_SERVER_NAME%", "conn.tls.sni"),
    _Fact(0xE2, "certificate", "%DOWNSTREAM_PEER_SUBJECT%"),
    _Fact(0xE3, "cipher_suite", "%DOWNSTREAM_TLS_CIPHER%", "conn.tls.cipher_suite"),
    _Fact(0xE4, "pem", "%DOWNSTREAM_PEER_CERT%", CERTIFICATE),
    _Fact(0xE5, "ja4", "%TLS_JA4_FINGERPRINT%", "conn.tls.ja4_fingerprint"),
    _Fact(0xE6, "start", "%START_TIME%", "conn.ts.start"),
)


def told_facts() -> list[Body]:
    """What the proxy where TLS ends adds to the PROXY header."""
    return [
        {
            "type": fact.kind,
            "format_string": {"text_format_source": {"inline_string": fact.text}, "omit_empty_values": True},
        }
        for fact in _FACTS
    ]


def behind_tls(endpoint: Endpoint, frame: EdgeFrame, proxy: Body) -> list[Resource]:
    """The way to the listener of an endpoint's bytes, and the listener. `proxy` is what leads to its upstream."""
    socket = _socket(endpoint, frame)
    read = extension(
        "envoy.filters.listener.proxy_protocol",
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        rules=[
            {"tlv_type": fact.kind, "on_tlv_present": {"metadata_namespace": TLS_FACTS, "key": fact.name}}
            for fact in _FACTS
        ],
    )
    told = {fact.variable: f"%DYNAMIC_METADATA({TLS_FACTS}:{fact.name})%" for fact in _FACTS if fact.variable}
    name = names.own_name(endpoint)
    body: Body = {
        "name": name,
        "address": pipe(socket),
        "stat_prefix": "tls",
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "ignore_global_conn_limit": True,  # each of its connections is a visitor's, who is counted where he came
        "listener_filters": [read],
        "filter_chains": [{"name": "tls", "filters": [*gate_filters(endpoint, told), proxy]}],
    }
    return [own_cluster(names.behind_tls(endpoint), socket), Resource(LISTENER, name, body)]


def _socket(endpoint: Endpoint, frame: EdgeFrame) -> str:
    """A path of the node's own directory; Unix sockets have short ones."""
    digest = hashlib.sha256(str(endpoint.url).encode()).hexdigest()[:16]
    return str(PurePath(frame.connections_socket).parent / f"tls-{digest}.sock")
