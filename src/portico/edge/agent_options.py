"""The agent protocol's door: what a Bind or StartTunnelWithLabel asks for, as a `BindRequest`.

Options that this edge does not enforce are refused, never ignored: an owner who asked for a password must not find his
service open.
"""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portico.edge.bind_request import BindRequest
from portico.edge.checked_tls import checked_tls
from portico.edge.endpoint_policy import endpoint_policy
from portico.edge.option_policy import host_header, option_policy
from portico.model.endpoint import EdgeTls, EndpointUrl, KeyPair, Networks, Scheme, TlsVersion, both
from portico.model.errors import BIND_INVALID, NOT_SERVED, PorticoError
from portico.model.names import is_internal_host
from portico.model.weight import MAX_WEIGHT
from portico.tunnel.frames import ProtocolError
from portico.tunnel.messages import Bind, BindOptions, StartTunnelWithLabel

if TYPE_CHECKING:
    from portico.policy.actions import TerminateTls

MAX_NETWORKS: Final = 200
"""Networks in one list: each is looked at for each request."""


def bind_request(bind: Bind, minimum: TlsVersion = TlsVersion.TLS_1_2) -> BindRequest:
    """What `bind` asks for. Raises PorticoError: BIND_INVALID, CERTIFICATE_INVALID, NOT_SERVED, with the option's name.

    `minimum` is the TLS version that this edge demands at least.
    """
    try:
        options = bind.options
    except ProtocolError as error:
        raise PorticoError(BIND_INVALID, str(error)) from None
    scheme = _scheme(bind.proto, options)
    written = (options.traffic_policy, options.policy)
    policy = endpoint_policy([one for one in written if one], scheme, option_policy(options))
    host, port = _place(scheme, options)
    _refuse_bindings(bind.extra.bindings, host)
    return BindRequest(
        scheme=scheme,
        host=host,
        port=port,
        tls=_edge_tls(scheme, options, policy.terminate, minimum),
        traffic_policy=policy.text,
        upstream_http=_upstream_http(bind.forwards_proto),
        proxy_protocol=_proxy_protocol(options.proxy_proto),
        websocket_bytes=_websocket_bytes(scheme, bind, options),
        host_header=host_header(options),
        networks=both(_networks(options), policy.networks),
        options=_kept(bind.opts),
        pooling=bind.extra.pooling_enabled,
        weight=_weight(bind.extra.pool_weight),
        name=bind.extra.name,
        description=bind.extra.description,
        metadata=bind.extra.metadata,
        forwards_to=bind.forwards_to,
        bind_id=bind.id,
        token=bind.extra.token,
    )


def labelled_request(bind: StartTunnelWithLabel) -> BindRequest:
    """What a labelled tunnel asks for."""
    return BindRequest(
        scheme=None,
        labels=bind.labels,
        upstream_http=_upstream_http(bind.forwards_proto),
        pooling=True,
        metadata=bind.metadata,
        forwards_to=bind.forwards_to,
    )


def with_policy(request: BindRequest, policy: str, minimum: TlsVersion = TlsVersion.TLS_1_2) -> BindRequest:
    """The request of a live bind with another policy in place of its own (`Update` of the Go SDK).

    Raises PorticoError as `bind_request` does.
    """
    if request.scheme is None:
        raise PorticoError(BIND_INVALID, "a labelled tunnel has no traffic policy of its own")
    opts = {**request.options, "TrafficPolicy": policy}
    wanted = bind_request(Bind(proto=str(request.scheme), opts=opts), minimum)
    return replace(request, traffic_policy=wanted.traffic_policy, networks=wanted.networks, tls=wanted.tls)


def echoed_options(opts: Mapping[str, object], url: EndpointUrl) -> dict[str, object]:
    """The Bind's own `Opts` with the assigned name filled in: Rust SDKs send them again after a reconnect."""
    name = f"{url.host}:{url.port}" if url.scheme is Scheme.TCP else url.host
    keys = ("addr",) if url.scheme is Scheme.TCP else ("domain", "hostname")
    filled = {key: name if key.lower() in keys else value for key, value in opts.items()}
    return {key: str(url) if key.lower() == "url" else value for key, value in filled.items()}


_SETTLED: Final = ("url", "domain", "hostname", "subdomain", "addr", "trafficpolicy", "policy")


def _kept(opts: Mapping[str, object]) -> dict[str, object]:
    """Options that say something besides the name and the policy."""
    return {key: value for key, value in opts.items() if value not in (None, "", 0) and key.lower() not in _SETTLED}


def _scheme(proto: str, options: BindOptions) -> Scheme:
    written = urlsplit(options.url).scheme if "://" in options.url else proto
    try:
        return Scheme(written.lower())
    except ValueError:
        raise PorticoError(BIND_INVALID, f"{written!r} is no protocol for endpoints") from None


def _place(scheme: Scheme, options: BindOptions) -> tuple[str | None, int | None]:
    """The asked-for host and port; None for what the edge is to choose."""
    written = options.url.partition("://")[2] if "://" in options.url else options.url
    if scheme is Scheme.TCP:
        return _host_and_port(written or options.addr)
    host, _ = _host_and_port(written)
    return host or options.domain or options.hostname or options.subdomain or None, None


def _host_and_port(written: str) -> tuple[str | None, int | None]:
    """`host`, `host:port`, `:port` or nothing."""
    parts = urlsplit(f"//{written}")
    try:
        return parts.hostname or None, parts.port or None
    except ValueError:
        raise PorticoError(BIND_INVALID, f"{written!r} has no valid port") from None


def _websocket_bytes(scheme: Scheme, bind: Bind, options: BindOptions) -> bool:
    if options.websocket_tcp_converter is None:
        return False
    if scheme not in (Scheme.HTTP, Scheme.HTTPS):
        raise PorticoError(BIND_INVALID, f"the WebSocket converter is for http and https endpoints, not for {scheme}")
    if _upstream_http(bind.forwards_proto) != 1:
        raise PorticoError(BIND_INVALID, "the WebSocket converter's upstream gets bytes, and no HTTP/2")
    return True


def _edge_tls(
    scheme: Scheme, options: BindOptions, terminate: "TerminateTls | None", minimum: TlsVersion
) -> EdgeTls | None:
    """How TLS ends at the edge, of the Bind's own options and its policy's `terminate-tls`; None where it does not."""
    policy = terminate.edge_tls() if terminate else None
    given = options.mutual_tls_ca or options.mutual_tls_at_edge
    if scheme not in (Scheme.HTTPS, Scheme.TLS):
        if policy or given:
            raise PorticoError(BIND_INVALID, f"an endpoint of {scheme} has no TLS that could end at the edge")
        return None
    termination = options.tls_termination
    if scheme is Scheme.TLS and termination is None and policy is None:
        if given:
            raise PorticoError(
                BIND_INVALID,
                "mutual TLS at the edge was asked for, but TLS does not end there",
                fix="End TLS at the edge (an empty certificate and key mean an automatic one) or check at the agent.",
            )
        return None
    pair = _key_pair(termination.cert, termination.key) if termination else None
    authorities = _pem(given.mutual_tls_ca, "mutual_tls_cas") if given else None
    return _checked(pair, authorities, policy or EdgeTls(), minimum)


def _checked(pair: KeyPair | None, authorities: str | None, policy: EdgeTls, minimum: TlsVersion) -> EdgeTls:
    """Both sources in one; each thing is said in one place only."""
    if (pair and policy.key_pair) or (authorities and policy.client_authorities):
        raise PorticoError(
            BIND_INVALID, "the bind and its policy's terminate-tls both say what TLS is to use; keep one"
        )
    bundle = authorities if authorities is not None else policy.client_authorities
    wanted = EdgeTls(
        pair or policy.key_pair,
        client_authorities=bundle,
        verification=policy.verification,
        minimum=policy.minimum,
        maximum=policy.maximum,
    )
    return checked_tls(
        wanted,
        minimum,
        pair_at="the certificate" if pair else "server_certificate",
        authorities_at="mutual_tls_cas" if authorities else "mutual_tls_certificate_authorities",
    )


def _key_pair(certificate: bytes, key: bytes) -> KeyPair | None:
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise PorticoError(BIND_INVALID, "a certificate needs its key, and a key its certificate")
    return KeyPair(_pem(certificate, "the certificate"), _pem(key, "the key"))


def _pem(data: bytes, where: str) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise PorticoError(BIND_INVALID, f"{where} is not PEM text") from None


def _upstream_http(protocol: str) -> int:
    match protocol.lower():
        case "" | "http1":
            return 1
        case "http2":
            return 2
    raise PorticoError(BIND_INVALID, f"{protocol!r} is no upstream protocol; http1 and http2 are")


def _weight(weight: int) -> int:
    if not 1 <= weight <= MAX_WEIGHT:
        raise PorticoError(BIND_INVALID, f"a weight in a pool is 1 to {MAX_WEIGHT}, not {weight}")
    return weight


def _proxy_protocol(version: int) -> int:
    if version not in (0, 1, 2):
        raise PorticoError(BIND_INVALID, f"there is no PROXY protocol version {version}")
    return version


def _networks(options: BindOptions) -> Networks | None:
    given = options.ip_restriction
    if given is None:
        return None
    return Networks(_cidrs(given.get("allow_cidrs")), _cidrs(given.get("deny_cidrs")))


def _cidrs(given: object) -> tuple[str, ...]:
    """Networks in their canonical form; host bits may be set, as ngrok's SDKs let them."""
    listed = given or []
    if not isinstance(listed, list):
        raise PorticoError(BIND_INVALID, "IP restrictions are lists of networks")
    if len(listed) > MAX_NETWORKS:
        raise PorticoError(BIND_INVALID, f"{len(listed)} networks are given; {MAX_NETWORKS} are the most")
    try:
        return tuple(str(ip_network(str(one), strict=False)) for one in listed)
    except ValueError as error:
        raise PorticoError(BIND_INVALID, f"IP restrictions: {error}") from None


def _refuse_bindings(bindings: list[str], host: str | None) -> None:
    """Who may come to an endpoint its name says: internal ones are those whose name says so."""
    internal = host is not None and is_internal_host(host.lower())
    fitting = "internal" if internal else "public"
    others = [binding for binding in bindings if binding != fitting]
    if not others:
        return
    if others == ["internal"]:
        raise PorticoError(BIND_INVALID, "an internal endpoint's name ends in .internal", fix="Ask for such a URL.")
    if others == ["public"]:
        raise PorticoError(BIND_INVALID, f"{host} is internal; no binding makes it public", fix="Ask for another name.")
    raise PorticoError(NOT_SERVED, f"this edge offers public and internal endpoints, not {', '.join(others)} ones")
