"""An endpoint as Envoy's resources: the same few of them however many endpoints there are."""

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, Scheme
from portico.translate import names
from portico.translate.behind_tls import behind_tls
from portico.translate.byte_policies import asks_gate
from portico.translate.chains import own_chain, visitors_proxy
from portico.translate.clusters import endpoint_cluster
from portico.translate.listeners import tcp_listener
from portico.translate.resource import Resource
from portico.translate.route_backends import pool_clusters
from portico.translate.scopes import endpoint_scope, internal_scopes, misdirected_scope
from portico.translate.tls import secret_resource


def endpoint_resources(endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    """Everything of one endpoint, in the order to publish it; remove it in reverse.

    Before an endpoint is removed, or after it is published, the https listener follows with the new `SniTable`, if that
    has changed.
    """
    if endpoint.is_internal:
        return _internal(endpoint, frame)
    match endpoint.url.scheme:
        case Scheme.HTTP:
            cluster = names.own_name(endpoint)
            return [*_online(endpoint, frame, cluster), endpoint_scope(frame, endpoint, names.PLAIN, cluster)]
        case Scheme.HTTPS:
            return _https(endpoint, frame)
        case Scheme.TLS:
            chain = own_chain(endpoint, frame)
            cluster = names.own_name(endpoint) if chain else names.sni_cluster(endpoint.url.host)
            decided = _decided_within(endpoint, frame) if chain else []
            return [*_online(endpoint, frame, cluster), *_secret(endpoint), *decided, *([chain] if chain else [])]
        case Scheme.TCP:
            if not endpoint.addresses and not endpoint.routes and not asks_gate(endpoint):
                return []
            return [*_online(endpoint, frame, names.own_name(endpoint)), tcp_listener(frame, endpoint)]


def _decided_within(endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    """What decides about connections whose TLS has ended; nothing where it does not end, or nobody decides."""
    if endpoint.tls is None or not asks_gate(endpoint):
        return []
    return behind_tls(endpoint, frame, visitors_proxy(frame, "tls", names.own_name(endpoint), endpoint))


def _internal(endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    """No listener knows it: policies alone lead to it."""
    cluster = names.own_name(endpoint)
    scopes = internal_scopes(frame, endpoint, cluster) if endpoint.is_http else []
    return [*_online(endpoint, frame, cluster), *scopes]


def _https(endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    chain = own_chain(endpoint, frame)
    cluster = names.own_name(endpoint)
    resources = [*_online(endpoint, frame, cluster), *_secret(endpoint)]
    if chain is None:
        return [*resources, endpoint_scope(frame, endpoint, names.PUBLIC, cluster)]
    return [
        *resources,
        endpoint_scope(frame, endpoint, chain.name, cluster),
        misdirected_scope(names.PUBLIC, endpoint.url.host),
        chain,
    ]


def _online(endpoint: Endpoint, frame: EdgeFrame, cluster: str) -> list[Resource]:
    own = endpoint_cluster(endpoint, frame, cluster) if endpoint.addresses else []
    return [*own, *pool_clusters(endpoint, frame)]


def _secret(endpoint: Endpoint) -> list[Resource]:
    if endpoint.tls is None or endpoint.tls.key_pair is None:
        return []
    return [secret_resource(names.host_secret(endpoint.url.host), endpoint.tls.key_pair)]
