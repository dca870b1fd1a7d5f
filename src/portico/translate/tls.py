"""TLS that ends at the edge: which certificate, which visitors."""

import base64
from collections.abc import Sequence
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import EdgeTls, KeyPair, TlsVersion
from portico.translate import names
from portico.translate.resource import SECRET, Resource
from portico.translate.typed import ADS, Body, extension

HANDSHAKE_TIMEOUT: Final = "15s"
"""Also what a visitor waits at most for a certificate that is made on demand."""

HTTP_ALPN: Final = ("h2", "http/1.1")

_VERSIONS: Final = {TlsVersion.TLS_1_2: "TLSv1_2", TlsVersion.TLS_1_3: "TLSv1_3"}

_CHACHA: Final = "CHACHA20-POLY1305"
_CIPHERS_1_2: Final = tuple(
    "[" + "|".join(f"ECDHE-{kind}-{cipher}" for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", _CHACHA)) + "]"
    for kind in ("ECDSA", "RSA")
)
"""Envoy's own choice, but all of equal rank, as in TLS 1.3: the visitor knows which his processor has instructions for.
Envoy puts AES-256 last, so that OpenSSL's clients, which name AES-128 last, got ChaCha20, at twice the CPU."""


def secret_resource(name: str, pair: KeyPair) -> Resource:
    """A certificate chain and key under the name that chains or the on-demand selector ask for."""
    certificate = {
        "certificate_chain": {"inline_string": pair.certificate},
        "private_key": {"inline_string": pair.key},
    }
    return Resource(SECRET, name, {"name": name, "tls_certificate": certificate})


def ticket_keys_resource(keys: Sequence[bytes]) -> Resource:
    """The keys of session tickets, 80 bytes each: the first makes tickets, all of them read them."""
    written = [{"inline_bytes": base64.b64encode(key).decode()} for key in keys]
    body = {"name": names.TICKET_KEYS, "session_ticket_keys": {"keys": written}}
    return Resource(SECRET, names.TICKET_KEYS, body)


def edge_certificate(frame: EdgeFrame) -> Body:
    """`CommonTlsContext` with the edge's own certificate, which is there before the listener is.

    No public authority vouches for localhost. Envoy takes the certificate that has the server name, or the first.
    """
    secrets = (names.LOCAL_CERTIFICATE, names.EDGE_CERTIFICATE) if frame.challenges else (names.EDGE_CERTIFICATE,)
    return {"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": ADS} for name in secrets]}


def certificate_of_visitors_name() -> Body:
    """`CommonTlsContext` with the secret that has the visitor's SNI as its name, asked for at the first handshake."""
    return _on_demand("sni", "SNI", default_value=names.EDGE_CERTIFICATE)


def certificate_named(secret: str) -> Body:
    """`CommonTlsContext` with one secret, asked for at the first handshake.

    A chain that comes by FCDS never gets a secret that it names itself: Envoy 1.40 does not start that subscription.
    """
    return _on_demand("static_name", "StaticName", name=secret)


def transport_socket(
    certificate: Body,
    settings: EdgeTls,
    frame: EdgeFrame,
    *,
    alpn: tuple[str, ...] = (),
    shared_tickets: bool = False,
) -> Body:
    """TLS towards visitors; `certificate` is one of the above.

    With `shared_tickets` a session may be resumed at every node, and after a restart. Without, each chain has keys of
    its own, which end with it: nobody resumes a session under rules that it was not made under.
    """
    common: Body = {"tls_params": _parameters(settings, frame), **certificate}
    if alpn:
        common["alpn_protocols"] = list(alpn)
    if settings.client_authorities is not None:
        common["validation_context"] = _validation(settings, settings.client_authorities)
    # Envoy refuses the selector where sessions may be resumed.
    resumption: Body = {}
    if "custom_tls_certificate_selector" in certificate:
        resumption = {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}
    elif shared_tickets:
        resumption = {"session_ticket_keys_sds_secret_config": {"name": names.TICKET_KEYS, "sds_config": ADS}}
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=_requires(settings),
        **resumption,
    )


def _parameters(settings: EdgeTls, frame: EdgeFrame) -> Body:
    return {
        "tls_minimum_protocol_version": _VERSIONS[max(settings.minimum, frame.minimum_tls)],
        "tls_maximum_protocol_version": _VERSIONS[settings.maximum],
        "cipher_suites": list(_CIPHERS_1_2),
    }


def _requires(settings: EdgeTls) -> bool:
    return settings.client_authorities is not None and settings.verification.demands


def _validation(settings: EdgeTls, authorities: str) -> Body:
    """Inline, not by SDS: new authorities are new rules, and connections let in by the old ones must end."""
    context: Body = {"trusted_ca": {"inline_string": authorities}}
    if settings.revocations is not None:
        # An intermediate's own revocation is its root's matter, whose CRL is often not at hand.
        context |= {"crl": {"inline_string": settings.revocations}, "only_verify_leaf_cert_crl": True}
    if not settings.verification.verifies:
        context["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    return context


def _on_demand(mapper: str, message: str, **fields: str) -> Body:
    selector = extension(
        "envoy.tls.certificate_selectors.on_demand_secret",
        "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config",
        config_source=ADS,
        certificate_mapper=extension(
            mapper, f"envoy.extensions.transport_sockets.tls.cert_mappers.{mapper}.v3.{message}", **fields
        ),
    )
    return {"custom_tls_certificate_selector": selector}
