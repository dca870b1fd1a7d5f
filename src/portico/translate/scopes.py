"""Scopes: one ScopedRouteConfiguration an endpoint, so that a change of one touches no other."""

from typing import Final

from portico.model import pages
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, Networks, UnixSocket
from portico.translate import lookup, names, networks
from portico.translate.replies import MISDIRECTED_STATUS, OFFLINE_STATUS
from portico.translate.resource import SCOPE, Resource
from portico.translate.typed import Body, extension

_REMOVED_FROM_REQUESTS: Final = (
    names.CLASS_HEADER,
    names.HOST_HEADER,
    "x-envoy-external-address",
    # CGI and WSGI read `_` as `-`: these spellings would pass for the edge's word or for the message's framing.
    "x_forwarded_for",
    "x_forwarded_host",
    "x_forwarded_port",
    "x_forwarded_proto",
    "x_real_ip",
    "content_length",
    "transfer_encoding",
    "x_forwarded_client_cert",
)

_RETRY: Final[Body] = {
    # Only where the upstream has seen nothing of the request.
    "retry_on": "connect-failure,refused-stream,reset-before-request",
    "num_retries": 3,
    "host_selection_retry_max_attempts": 5,
    "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.1s"},
    "retry_host_predicate": [
        extension(
            "envoy.retry_host_predicates.previous_hosts",
            "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
        )
    ],
}


def forwarding_scope(
    frame: EdgeFrame,
    scope_class: str,
    host: str,
    cluster: str,
    host_header: str | None = None,
    allowed: Networks | None = None,
    *,
    relayed: bool = True,
) -> Resource:
    """Requests of `scope_class` for `host` go to `cluster`, those from `allowed` networks.

    `relayed` says whether a relay may answer, with a page of its own: nobody else marks any, and to look for the mark
    costs 1 % of a request.
    """
    action: Body = {
        "cluster": cluster,
        "timeout": "0s",  # a response may take as long as it takes; silence is ended by the stream's idle timeout
        "retry_policy": _RETRY,
    }
    if host_header is not None:
        action["host_rewrite_literal"] = host_header
    answer = {"route": action, "response_headers_to_remove": [pages.CODE_HEADER, pages.NGROK_CODE_HEADER]}
    return _scope(scope_class, host, answer, allowed, relay=frame if relayed else None)


def offline_scope(scope_class: str, host: str) -> Resource:
    """The host is known but nothing serves it now."""
    return _scope(scope_class, host, {"direct_response": {"status": OFFLINE_STATUS}})


def misdirected_scope(scope_class: str, host: str) -> Resource:
    """The host demands more than requests of `scope_class` have shown; a browser tries again on a new connection."""
    return _scope(scope_class, host, {"direct_response": {"status": MISDIRECTED_STATUS}})


def endpoint_scope(frame: EdgeFrame, endpoint: Endpoint, scope_class: str, cluster: str) -> Resource:
    """The scope that answers for an endpoint, online or not."""
    host = endpoint.url.host
    if not endpoint.addresses:
        return offline_scope(scope_class, host)
    relayed = any(isinstance(address, UnixSocket) for address in endpoint.addresses)
    return forwarding_scope(frame, scope_class, host, cluster, endpoint.host_header, endpoint.networks, relayed=relayed)


def _scope(
    scope_class: str, host: str, answer: Body, allowed: Networks | None = None, relay: EdgeFrame | None = None
) -> Resource:
    name = names.scope_name(scope_class, host)
    route = {"name": name, "match": {"prefix": "/"}, **answer}
    virtual_host: Body = {
        "name": "v",
        "domains": ["*"],
        "routes": [route],
        "typed_per_filter_config": {**lookup.switched_off(), **networks.for_scope(allowed)},
    }
    routes: Body = {
        "name": name,
        "validate_clusters": False,  # order is the publisher's; a late cluster must not reject the scope
        "request_headers_to_remove": list(_REMOVED_FROM_REQUESTS),
        "virtual_hosts": [virtual_host],
    }
    if relay is not None:
        _read_marks(relay, route, virtual_host, routes)
    key = {"fragments": [{"string_key": scope_class}, {"string_key": host}]}
    return Resource(SCOPE, name, {"name": name, "key": key, "route_configuration": routes})


def _read_marks(frame: EdgeFrame, route: Body, virtual_host: Body, routes: Body) -> None:
    """Make codes of a relay's marks, a step a level: one level cannot see what it adds itself."""
    mark, ngrok_mark = frame.mark_header, pages.ngrok_mark(frame.mark_header)
    # First, on the route, which has dropped an upstream's codes: the marks are copied; an empty value adds nothing.
    route["response_headers_to_add"] = [
        _header(pages.CODE_HEADER, f"%RESP({mark})%", "OVERWRITE_IF_EXISTS_OR_ADD"),
        _header(pages.NGROK_CODE_HEADER, f"%RESP({ngrok_mark})%", "OVERWRITE_IF_EXISTS_OR_ADD"),
    ]
    # Then, on the virtual host: what was copied becomes a code.
    virtual_host["response_headers_to_add"] = [
        _header(pages.CODE_HEADER, f"PORTICO_%RESP({mark})%", "OVERWRITE_IF_EXISTS")
    ]
    # Last: both have read the marks.
    routes["response_headers_to_remove"] = [mark, ngrok_mark]


def _header(key: str, value: str, action: str) -> Body:
    return {"header": {"key": key, "value": value}, "append_action": action}
