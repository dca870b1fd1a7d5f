"""Routes of an endpoint as Envoy's, in the order in which they are tried, and the clusters of its pools."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from portico.model.balancing import Balancing, HashBy, HashKind, Method
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, Pool, UnixSocket
from portico.model.route import (
    Affinity,
    Answer,
    Backend,
    FieldMatch,
    HeaderChanges,
    Match,
    Mirror,
    PathChange,
    PathKind,
    PathMatch,
    Redirect,
    Route,
    in_order,
)
from portico.translate import names
from portico.translate.balancing import hash_policy, seconds
from portico.translate.clusters import endpoint_cluster
from portico.translate.replies import NO_ROUTE_STATUS, unmapped_status
from portico.translate.resource import Resource
from portico.translate.retries import retry_policy, with_safe_methods
from portico.translate.typed import Body

_REDIRECTS: Final = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
NO_ROUTE: Final[Body] = {"direct_response": {"status": NO_ROUTE_STATUS}}
"""What is asked for and fits no route."""


def route_bodies(endpoint: Endpoint, frame: EdgeFrame) -> list[Body]:
    """Routes with their matches, without names; the first that fits counts."""
    return [body for route, match in in_order(endpoint.routes) for body in _route(endpoint, frame, route, match)]


def _route(endpoint: Endpoint, frame: EdgeFrame, route: Route, match: Match) -> list[Body]:
    bodies = [{"match": _match(match), **_action(endpoint, frame, route, match), **_changed(route)}]
    if _chooses_by_cookie(route):
        bodies = [*_stays(endpoint, frame, route, match), *bodies]
    if route.retries is not None or not _has_another(endpoint, route):
        return bodies
    return [each for body in bodies for each in with_safe_methods(body, frame)]


def _chooses_by_cookie(route: Route) -> bool:
    """Whether a cookie has to say which of several backends was chosen.

    Envoy chooses a cluster before it makes the cookie of which the address follows, so the first request of a visitor
    would go elsewhere than his others.
    """
    return route.affinity is not None and route.affinity.cookie != "" and len(_shares(route)) > 1


def _stays(endpoint: Endpoint, frame: EdgeFrame, route: Route, match: Match) -> Iterator[Body]:
    """In front of the choice: each backend that something of is online, for who has been led to it before."""
    online = {pool.name for pool in endpoint.pools if pool.addresses}
    for backend in _shares(route):
        if backend.pool in online:
            name, value = _choice(route, backend)
            chosen = {**_match(match), "cookies": [{"name": name, "string_match": {"exact": value}}]}
            alone = replace(route, backends=(backend,))
            yield {"match": chosen, **_action(endpoint, frame, alone, match), **_changed(route)}


def _choice(route: Route, backend: Backend) -> tuple[str, str]:
    """Name and value of the cookie that tells the backend; the pool's name is nobody's business."""
    assert route.affinity is not None
    return f"{route.affinity.cookie}-to", hashlib.blake2b(backend.pool.encode(), digest_size=6).hexdigest()


def _shares(route: Route) -> list[Backend]:
    return [backend for backend in route.backends if backend.weight]


def _has_another(endpoint: Endpoint, route: Route) -> bool:
    led = {backend.pool for backend in _shares(route)}
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


# Matches.


def _match(match: Match) -> Body:
    body = _path(match.path)
    headers = [_field(_header_name(field), field) for field in match.headers]
    if match.methods:
        # Methods are tokens (RFC 9110, 9.1); none of those that are let in here means anything in an expression.
        said = {"exact": match.methods[0]} if len(match.methods) == 1 else _regex("|".join(match.methods))
        headers.append({"name": ":method", "string_match": said})
    if headers:
        body["headers"] = headers
    if match.query:
        body["query_parameters"] = [_field(field.name, field) for field in match.query]
    return body


def _path(path: PathMatch) -> Body:
    match path.kind:
        case PathKind.EXACT:
            return {"path": path.value}
        case PathKind.REGEX:
            return _regex(path.value)
        case PathKind.PREFIX:
            bare = path.value.rstrip("/")
            return {"path_separated_prefix": bare} if bare else {"prefix": "/"}


def _field(name: str, field: FieldMatch) -> Body:
    if field.value is None:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": _regex(field.value) if field.regex else {"exact": field.value}}


def _header_name(field: FieldMatch) -> str:
    """Envoy keeps the Host header under HTTP/2's name."""
    return ":authority" if field.name.lower() == "host" else field.name


def _regex(pattern: str) -> Body:
    return {"safe_regex": {"regex": pattern}}


# Actions.


def _action(endpoint: Endpoint, frame: EdgeFrame, route: Route, match: Match) -> Body:
    if route.redirect is not None:
        return {"redirect": _redirect(route.redirect, match)}
    if route.answer is not None:
        return _answer(route.answer)
    action: Body = {
        **_clusters(endpoint, route),
        "timeout": seconds(route.timeout),
        "retry_policy": _retry_policy(endpoint, frame, route),
    }
    if route.rewrite is not None and route.rewrite.path is not None:
        action |= _changed_path(route.rewrite.path, match)
    mirrors = [_mirror(endpoint, mirror) for mirror in route.mirrors if _has_pool(endpoint, mirror.pool)]
    if mirrors:
        action["request_mirror_policies"] = mirrors
    return {"route": action}


def _retry_policy(endpoint: Endpoint, frame: EdgeFrame, route: Route) -> Body:
    policy = retry_policy(frame if relays_answer(endpoint) and _has_another(endpoint, route) else None)
    if route.try_timeout:
        policy = {**policy, "per_try_timeout": seconds(route.try_timeout)}
    if route.retries is None:
        return policy
    backoff = {"base_interval": seconds(route.retries.backoff), "max_interval": seconds(route.retries.backoff * 10)}
    policy = {**policy, "num_retries": route.retries.attempts, "retry_back_off": backoff}
    if route.retries.codes:
        policy["retry_on"] += ",retriable-status-codes"
        policy["retriable_status_codes"] = list(route.retries.codes)
    if route.retries.broken:
        policy["retry_on"] += ",reset"
    return policy


def _clusters(endpoint: Endpoint, route: Route) -> Body:
    """Where requests go. A backend without a pool has no cluster, which is answered with 500, as Gateway API says."""
    shares = _shares(route)
    if not shares:
        return {"cluster": _nowhere(endpoint), "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"}
    if len(shares) == 1 and not _changed(shares[0]):
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
        **_changed(backend),
    }
    if route.affinity is not None and _chooses_by_cookie(route):
        name, value = _choice(route, backend)
        life = f"; Max-Age={route.affinity.lifetime}" if route.affinity.lifetime else ""
        cookie = _header(
            "set-cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{life}", "APPEND_IF_EXISTS_OR_ADD"
        )
        share["response_headers_to_add"] = [cookie, *share.get("response_headers_to_add", ())]
    host = _host(endpoint, route, backend)
    return {**share, "host_rewrite_literal": host} if host else share


def _cluster_name(endpoint: Endpoint, route: Route, backend: Backend) -> str:
    return names.pool_cluster(endpoint, backend.pool, route.affinity)


def _nowhere(endpoint: Endpoint) -> str:
    """The name of no cluster: a pool's name is never empty."""
    return names.pool_cluster(endpoint, "")


def _has_pool(endpoint: Endpoint, name: str) -> bool:
    return any(pool.name == name for pool in endpoint.pools)


def _host(endpoint: Endpoint, route: Route, backend: Backend) -> str | None:
    """What is said nearest to the upstream counts."""
    pool = next((pool for pool in endpoint.pools if pool.name == backend.pool), None)
    of_route = route.rewrite.host if route.rewrite else None
    return backend.host or of_route or (pool.host_header if pool else None) or endpoint.host_header


def _redirect(redirect: Redirect, match: Match) -> Body:
    body: Body = {"response_code": _REDIRECTS[redirect.status]}
    if redirect.scheme is not None:
        body["scheme_redirect"] = redirect.scheme
    if redirect.host is not None:
        body["host_redirect"] = redirect.host
    if redirect.port is not None:
        body["port_redirect"] = redirect.port
    if redirect.path is None:
        return body
    if redirect.path.prefix:
        return body | _changed_path(redirect.path, match)
    return body | {"path_redirect": redirect.path.value}


def _changed_path(change: PathChange, match: Match) -> Body:
    """Envoy changes text, Gateway API segments: where one of both ends in a slash, an expression does it."""
    if not change.prefix:
        return _substituted(".*", change.value)
    matched, wanted = match.path.value.rstrip("/"), change.value.rstrip("/")
    if matched and wanted:
        return {"prefix_rewrite": wanted}
    return _substituted(f"{re.escape(matched)}/?", f"{wanted}/")


def _substituted(pattern: str, text: str) -> Body:
    return {"regex_rewrite": {"pattern": {"regex": f"^{pattern}"}, "substitution": text.replace("\\", "\\\\")}}


def _answer(answer: Answer) -> Body:
    body: Body = {"direct_response": {"status": unmapped_status(answer.status)}}
    if answer.body:
        body["direct_response"]["body"] = {"inline_string": answer.body}
    return body


def _mirror(endpoint: Endpoint, mirror: Mirror) -> Body:
    return {
        "cluster": names.pool_cluster(endpoint, mirror.pool),
        "runtime_fraction": {"default_value": {"numerator": mirror.per_million, "denominator": "MILLION"}},
        "disable_shadow_host_suffix_append": True,  # a copy is meant for the same host
    }


# Headers.


def _changed(place: Route | Backend) -> Body:
    """The changes of headers at a route, or at one of its backends."""
    fields: Body = {**_changes("request", place.request_headers), **_changes("response", place.response_headers)}
    if isinstance(place, Route) and place.answer is not None and place.answer.body:
        kind = _header("content-type", place.answer.content_type, "OVERWRITE_IF_EXISTS_OR_ADD")
        fields["response_headers_to_add"] = [kind, *fields.get("response_headers_to_add", [])]
    return fields


def _changes(side: str, changes: HeaderChanges) -> Body:
    added = [_header(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for name, value in changes.set]
    added += [_header(name, value, "APPEND_IF_EXISTS_OR_ADD") for name, value in changes.add]
    fields: Body = {f"{side}_headers_to_add": added} if added else {}
    return fields | ({f"{side}_headers_to_remove": list(changes.remove)} if changes.remove else {})


def _header(key: str, value: str, action: str) -> Body:
    """Envoy takes `%` for the begin of a variable."""
    header = {"key": key, "value": value.replace("%", "%%")}
    return {"header": header, "append_action": action, "keep_empty_value": True}
