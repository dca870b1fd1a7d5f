"""Scopes: one ScopedRouteConfiguration an endpoint, so that a change of one touches no other."""

from typing import Final, NamedTuple

from portico.model import pages
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.translate import cors, lookup, names, networks
from portico.translate.policy import slots
from portico.translate.replies import FAILED_STATUS, MISDIRECTED_STATUS, OFFLINE_STATUS
from portico.translate.resource import SCOPE, Resource
from portico.translate.retries import has_another, retry_policy, with_safe_methods
from portico.translate.route_backends import relays_answer
from portico.translate.routes import NO_ROUTE, route_bodies
from portico.translate.typed import Body

_REMOVED_FROM_REQUESTS: Final = (
    names.CLASS_HEADER,
    names.HOST_HEADER,
    slots.TOKEN_HEADER,
    "x-envoy-external-address",
)


def forwarding_scope(
    frame: EdgeFrame,
    scope_class: str,
    host: str,
    cluster: str,
    endpoint: Endpoint | None = None,
    *,
    relayed: bool = True,
    hop: int = 0,
) -> Resource:
    """Requests of `scope_class` for `host` go to `cluster`, as `endpoint` wants it, if it is one's.

    `relayed` says whether a relay may answer, with a page of its own: nobody else marks any, and to look for the mark
    costs 1 % of a request.
    """
    rules = _Rules(frame, endpoint, hop)
    return _scope(scope_class, host, _to_cluster(frame, cluster, endpoint, relayed), rules, frame if relayed else None)


def misdirected_scope(scope_class: str, host: str) -> Resource:
    """The host demands more than requests of `scope_class` have shown; a browser tries again on a new connection."""
    return _scope(scope_class, host, [lookup.answered({"direct_response": {"status": MISDIRECTED_STATUS}})])


def endpoint_scope(frame: EdgeFrame, endpoint: Endpoint, scope_class: str, cluster: str) -> Resource:
    """The scope that answers for an endpoint, online or not."""
    return _scope_of(frame, endpoint, scope_class, endpoint.url.host, cluster)


def internal_scopes(frame: EdgeFrame, endpoint: Endpoint, cluster: str) -> list[Resource]:
    """The scopes of an internal endpoint, one for each hop at which a visit may come to it."""
    return [
        _scope_of(
            frame, endpoint, names.internal_class(endpoint.owner, hop), names.internal_host(endpoint.url), cluster, hop
        )
        for hop in range(1, slots.HOPS)
    ]


def _scope_of(
    frame: EdgeFrame, endpoint: Endpoint, scope_class: str, host: str, cluster: str, hop: int = 0
) -> Resource:
    rules = _Rules(frame, endpoint, hop)
    relayed = relays_answer(endpoint)
    rest: list[Body] = [NO_ROUTE] if endpoint.routes else [_offline(endpoint)]
    if endpoint.addresses:
        rest = _to_cluster(frame, cluster, endpoint, relayed)
    return _scope(scope_class, host, [*route_bodies(endpoint, frame), *rest], rules, frame if relayed else None)


def _offline(endpoint: Endpoint) -> Body:
    page: Body = {"direct_response": {"status": OFFLINE_STATUS}}
    # Behind a policy no route is known yet where `lookup` runs.
    return page if endpoint.traffic_policy else lookup.answered(page)


def _to_cluster(frame: EdgeFrame, cluster: str, endpoint: Endpoint | None, relayed: bool) -> list[Body]:
    """Whatever is asked for goes to the endpoint's own addresses."""
    another = has_another(endpoint)
    action: Body = {
        "cluster": cluster,
        "timeout": "0s",  # a response may take as long as it takes; silence is ended by the stream's idle timeout
        "retry_policy": retry_policy(frame if relayed and another else None),
    }
    if endpoint is not None and endpoint.host_header is not None:
        action["host_rewrite_literal"] = endpoint.host_header
    route = {"match": {"prefix": "/"}, "route": action}
    return with_safe_methods(route, frame) if another else [route]


class _Rules(NamedTuple):
    """What decides whether a request comes as far as the route."""

    frame: EdgeFrame
    endpoint: Endpoint | None
    hop: int

    def routes(self, routes: list[Body]) -> list[Body]:
        """The routes; behind a policy only with the policy's own word: Envoy lets requests pass a filter that fails."""
        if self.endpoint is None or not self.endpoint.traffic_policy:
            return routes
        word = {"name": slots.TOKEN_HEADER, "string_match": {"exact": slots.token(self.frame, self.hop)}}
        opened = [
            {**route, "match": {**route["match"], "headers": [word, *route["match"].get("headers", ())]}}
            for route in routes
        ]
        refused = {"match": {"prefix": "/"}, "direct_response": {"status": FAILED_STATUS}}
        return [*opened, {"name": routes[-1]["name"], **refused}]

    def filters(self) -> Body:
        """Per-scope configuration of the filters before the route."""
        allowed = self.endpoint.networks if self.endpoint else None
        return {**networks.for_scope(allowed), **slots.for_scope(self.endpoint, self.frame, self.hop)}


def _scope(
    scope_class: str, host: str, answers: list[Body], rules: _Rules | None = None, relay: EdgeFrame | None = None
) -> Resource:
    name = names.scope_name(scope_class, host)
    listed = [_from_upstream({"name": name, "match": {"prefix": "/"}, **answer}, relay) for answer in answers]
    filters = rules.filters() if rules else {**networks.for_scope(None), **slots.switched_off()}
    virtual_host: Body = {
        "name": "v",
        "domains": ["*"],
        "typed_per_filter_config": {**lookup.for_scope(answers), **filters, **cors.for_scope(listed)},
    }
    routes: Body = {
        "name": name,
        "validate_clusters": False,  # order is the publisher's; a late cluster must not reject the scope
        "request_headers_to_remove": list(_REMOVED_FROM_REQUESTS),
        "virtual_hosts": [virtual_host],
    }
    if relay is not None:
        _make_codes(relay, virtual_host, routes)
    virtual_host["routes"] = rules.routes(listed) if rules else listed
    key = {"fragments": [{"string_key": scope_class}, {"string_key": host}]}
    return Resource(SCOPE, name, {"name": name, "key": key, "route_configuration": routes})


def _from_upstream(route: Body, relay: EdgeFrame | None) -> Body:
    """No upstream names an error of the edge; a relay does by its marks, of which the codes are made step by step."""
    if "route" not in route:
        return route
    dropped = [pages.CODE_HEADER, pages.NGROK_CODE_HEADER, *route.get("response_headers_to_remove", ())]
    if relay is None:
        return {**route, "response_headers_to_remove": dropped}
    # First, on the route, which has dropped an upstream's codes: the marks are copied; an empty value adds nothing.
    mark, ngrok_mark = relay.mark_header, pages.ngrok_mark(relay.mark_header)
    copied = [
        _header(pages.CODE_HEADER, f"%RESP({mark})%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        _header(pages.NGROK_CODE_HEADER, f"%RESP({ngrok_mark})%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        *route.get("response_headers_to_add", ()),
    ]
    return {**route, "response_headers_to_remove": dropped, "response_headers_to_add": copied}


def _make_codes(frame: EdgeFrame, virtual_host: Body, routes: Body) -> None:
    """Make codes of a relay's marks, a step a level: one level cannot see what it adds itself."""
    # Then, on the virtual host: what was copied becomes a code.
    virtual_host["response_headers_to_add"] = [
        _header(pages.CODE_HEADER, f"PORTICO_%RESP({frame.mark_header})%", "OVERWRITE_IF_EXISTS")
    ]
    # Last: both have read the marks.
    routes["response_headers_to_remove"] = [
        frame.mark_header,
        pages.ngrok_mark(frame.mark_header),
        pages.unseen_mark(frame.mark_header),
    ]


def _header(key: str, value: str, action: str) -> Body:
    return {"header": {"key": key, "value": value}, "append_action": action}
