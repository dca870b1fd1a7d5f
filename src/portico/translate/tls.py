"""TLS that ends at the edge: which certificate, which visitors."""

from typing import Final

from portico.model.endpoint import ClientVerification, EdgeTls, KeyPair, TlsVersion
from portico.translate import names
from portico.translate.resource import SECRET, Resource
from portico.translate.typed import ADS, Body, extension, typed

HANDSHAKE_TIMEOUT: Final = "15s"
"""Also what a visitor waits at most for a certificate that is made on demand."""

HTTP_ALPN: Final = ("h2", "http/1.1")

_ON_DEMAND: Final = "envoy.extensions.transport_sockets.tls.cert_selectors.on_demand_secret.v3.Config"
_SNI_MAPPER: Final = "envoy.extensions.transport_sockets.tls.cert_mappers.sni.v3.SNI"
_VERSIONS: Final = {TlsVersion.TLS_1_2: "TLSv1_2", TlsVersion.TLS_1_3: "TLSv1_3"}


def secret_resource(name: str, pair: KeyPair) -> Resource:
    """A certificate chain and key under the name that chains or the on-demand selector ask for."""
    certificate = {
        "certificate_chain": {"inline_string": pair.certificate},
        "private_key": {"inline_string": pair.key},
    }
    return Resource(SECRET, name, {"name": name, "tls_certificate": certificate})


def transport_socket(certificate: str | None, settings: EdgeTls, alpn: tuple[str, ...] = ()) -> Body:
    """TLS towards visitors with the secret `certificate`; None means the secret named by the visitor's SNI."""
    common: Body = {"tls_params": _versions(settings)}
    if alpn:
        common["alpn_protocols"] = list(alpn)
    context: Body = {}
    if certificate is None:
        common["custom_tls_certificate_selector"] = _on_demand()
        # Envoy refuses the selector where sessions may be resumed.
        context |= {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}
    else:
        common["tls_certificate_sds_secret_configs"] = [{"name": certificate, "sds_config": ADS}]
    if settings.client_authorities is not None:
        common["validation_context"] = _validation(settings.client_authorities, settings.verification)
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=_requires(settings),
        **context,
    )


def _versions(settings: EdgeTls) -> Body:
    return {
        "tls_minimum_protocol_version": _VERSIONS[settings.minimum],
        "tls_maximum_protocol_version": _VERSIONS[settings.maximum],
    }


def _requires(settings: EdgeTls) -> bool:
    return settings.client_authorities is not None and settings.verification is ClientVerification.REQUIRE


def _validation(authorities: str, verification: ClientVerification) -> Body:
    """Inline, not by SDS: new authorities are new rules, and connections let in by the old ones must end."""
    context: Body = {"trusted_ca": {"inline_string": authorities}}
    if verification is ClientVerification.REQUEST:
        context["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    return context


def _on_demand() -> Body:
    return extension(
        "envoy.tls.certificate_selectors.on_demand_secret",
        _ON_DEMAND,
        config_source=ADS,
        certificate_mapper={"name": "sni", "typed_config": typed(_SNI_MAPPER, default_value=names.EDGE_CERTIFICATE)},
    )
