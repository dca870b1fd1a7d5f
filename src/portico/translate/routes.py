"""Routes of an endpoint as Envoy's, in the order in which they are tried."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.model.route import Answer, Match, Mirror, PathChange, Redirect, Route, in_order
from portico.translate import names
from portico.translate.balancing import seconds
from portico.translate.cors import for_route, preflight
from portico.translate.replies import NO_ROUTE_STATUS, unmapped_status
from portico.translate.retries import retry_policy, with_safe_methods
from portico.translate.route_backends import (
    choice,
    chooses_by_cookie,
    clusters,
    has_another,
    relays_answer,
    shares_of,
)
from portico.translate.route_headers import changed
from portico.translate.route_matches import match_body
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
    body = {
        "match": match_body(match),
        **_action(endpoint, frame, route, match),
        **changed(route),
        **for_route(route.cors),
    }
    bodies = [body]
    if route.cors is not None and (match.methods or match.headers):
        # A browser asks first whether it may: by another method, and without the request's own headers.
        bodies = [{**body, "match": match_body(preflight(match))}, body]
    if chooses_by_cookie(route):
        bodies = [*_stays(endpoint, frame, route, match), *bodies]
    if route.retries is not None or not has_another(endpoint, route):
        return bodies
    return [each for body in bodies for each in with_safe_methods(body, frame)]


def _stays(endpoint: Endpoint, frame: EdgeFrame, route: Route, match: Match) -> Iterator[Body]:
    """In front of the choice: each backend that something of is online, for who has been led to it before."""
    online = {pool.name for pool in endpoint.pools if pool.addresses}
    for backend in shares_of(route):
        if backend.pool in online:
            name, value = choice(route, backend)
            chosen = {**match_body(match), "cookies": [{"name": name, "string_match": {"exact": value}}]}
            alone = replace(route, backends=(backend,))
            yield {"match": chosen, **_action(endpoint, frame, alone, match), **changed(route), **for_route(route.cors)}


def _action(endpoint: Endpoint, frame: EdgeFrame, route: Route, match: Match) -> Body:
    if route.redirect is not None:
        return {"redirect": _redirect(route.redirect, match)}
    if route.answer is not None:
        return _answer(route.answer)
    action: Body = {
        **clusters(endpoint, route),
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
    policy = retry_policy(frame if relays_answer(endpoint) and has_another(endpoint, route) else None)
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


def _has_pool(endpoint: Endpoint, name: str) -> bool:
    return any(pool.name == name for pool in endpoint.pools)
