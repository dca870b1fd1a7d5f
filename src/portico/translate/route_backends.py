"""Where a route leads: the shares of its backends, the clusters of the pools, and who stays with which of them."""

import hashlib
from dataclasses import replace

from portico.model.balancing import Balancing, HashBy, HashKind, Method
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, Pool, UnixSocket
from portico.model.route import Affinity, Backend, Route
from portico.translate import names
from portico.translate.balancing import hash_policy
from portico.translate.clusters import endpoint_cluster
from portico.translate.resource import Resource
from portico.translate.route_headers import changed, header
from portico.translate.typed import Body


def clusters(endpoint: Endpoint, route: Route) -> Body:
    """Where requests go. A backend without a pool has no cluster, which is answered with 500, as Gateway API says."""
    shares = shares_of(route)
    if not shares:
        return {"cluster": _nowhere(endpoint), "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"}
    if len(shares) == 1 and not changed(shares[0]):
        host = _host(endpoint, route, shares[0])
        return {
            "cluster": _cluster_name(endpoint, route, shares[0]),
            "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
            **({"host_rewrite_literal": host} if host else {}),
        }
    weighted: Body = {"clusters": [_share(endpoint, route, backend) for backend in shares]}
    spread = {"weighted_clusters": weighted, "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"}
    if route.affinity is None or route.affinity.cookie:
        return spread
    # The clusters choose an address by the same policy of their own; this one chooses the cluster.
    weighted["use_hash_policy"] = True
    return {**spread, "hash_policy": hash_policy(Balancing(Method.RING_HASH, (_hash_by(route.affinity),)))}


def _share(endpoint: Endpoint, route: Route, backend: Backend) -> Body:
    share: Body = {
        "name": _cluster_name(endpoint, route, backend),
        "weight": backend.weight,
        **changed(backend),
    }
    if route.affinity is not None and chooses_by_cookie(route):
        name, value = choice(route, backend)
        life = f"; Max-Age={route.affinity.lifetime}" if route.affinity.lifetime else ""
        cookie = header("set-cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{life}", beside=True)
        share["response_headers_to_add"] = [cookie, *share.get("response_headers_to_add", ())]
    host = _host(endpoint, route, backend)
    return {**share, "host_rewrite_literal": host} if host else share


def _cluster_name(endpoint: Endpoint, route: Route, backend: Backend) -> str:
    return names.pool_cluster(endpoint, backend.pool, route.affinity)


def _nowhere(endpoint: Endpoint) -> str:
    """The name of no cluster: a pool's name is never empty."""
    return names.pool_cluster(endpoint, "")


def _host(endpoint: Endpoint, route: Route, backend: Backend) -> str | None:
    """What is said nearest to the upstream counts."""
    pool = next((pool for pool in endpoint.pools if pool.name == backend.pool), None)
    of_route = route.rewrite.host if route.rewrite else None
    return backend.host or of_route or (pool.host_header if pool else None) or endpoint.host_header


def chooses_by_cookie(route: Route) -> bool:
    """Whether a cookie has to say which of several backends was chosen.

    Envoy chooses a cluster before it makes the cookie of which the address follows, so the first request of a visitor
    would go elsewhere than his others.
    """
    return route.affinity is not None and route.affinity.cookie != "" and len(shares_of(route)) > 1


def choice(route: Route, backend: Backend) -> tuple[str, str]:
    """Name and value of the cookie that tells the backend; the pool's name is nobody's business."""
    assert route.affinity is not None
    return f"{route.affinity.cookie}-to", hashlib.blake2b(backend.pool.encode(), digest_size=6).hexdigest()


def shares_of(route: Route) -> list[Backend]:
    """The backends that get requests."""
    return [backend for backend in route.backends if backend.weight]


def has_another(endpoint: Endpoint, route: Route) -> bool:
    """Whether a request that failed has somewhere else to go."""
    led = {backend.pool for backend in shares_of(route)}
    return any(len(pool.addresses) > 1 for pool in endpoint.pools if pool.name in led)


def pool_clusters(endpoint: Endpoint, frame: EdgeFrame) -> list[Resource]:
    """The clusters of the pools that routes lead to; one more of a pool for each affinity that routes to it have."""
    pools = {pool.name: pool for pool in endpoint.pools}
    wanted = dict.fromkeys(
        [(backend.pool, route.affinity) for route in endpoint.routes for backend in route.backends if backend.weight]
        + [(mirror.pool, None) for route in endpoint.routes for mirror in route.mirrors]
    )
    return [
        resource
        for name, affinity in wanted
        if name in pools
        for resource in _pool_clusters(endpoint, frame, pools[name], affinity)
    ]


def relays_answer(endpoint: Endpoint) -> bool:
    """Whether a relay is among those that answer for an endpoint."""
    addresses = [*endpoint.addresses, *(address for pool in endpoint.pools for address in pool.addresses)]
    return any(isinstance(address, UnixSocket) for address in addresses)


def weighted_clusters(endpoint: Endpoint) -> Body:
    """Where `tcp_proxy` leads the connections of an endpoint of bytes, whose one route has backends alone."""
    shares = [
        {"name": names.pool_cluster(endpoint, backend.pool), "weight": backend.weight}
        for backend in endpoint.routes[0].backends
        if backend.weight
    ]
    return {"weighted_clusters": {"clusters": shares}} if shares else {"cluster": _nowhere(endpoint)}


def _pool_clusters(endpoint: Endpoint, frame: EdgeFrame, pool: Pool, affinity: Affinity | None) -> list[Resource]:
    """A cluster that is like the endpoint's own, but for what the pool says."""
    balancing = pool.balancing
    if affinity is not None:
        # A ring: an address that comes or goes moves its own share of the visitors, not all of them.
        balancing = replace(balancing, method=Method.RING_HASH, hash_by=(_hash_by(affinity),))
    of_pool = replace(
        endpoint,
        addresses=pool.addresses,
        upstream_http=pool.upstream_http,
        proxy_protocol=pool.proxy_protocol,
        host_header=pool.host_header,
        balancing=balancing,
    )
    return endpoint_cluster(of_pool, frame, names.pool_cluster(endpoint, pool.name, affinity))


def _hash_by(affinity: Affinity) -> HashBy:
    if affinity.header:
        return HashBy(HashKind.HEADER, affinity.header)
    return HashBy(HashKind.COOKIE, affinity.cookie, affinity.lifetime)
