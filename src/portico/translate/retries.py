"""When a request goes to another address: never twice where the first may have had an effect.

Whatever the method: where the first saw nothing of it. Methods without an effect (RFC 9110, 9.2.1), where a pool has
another address: also where the first gave no byte of an answer before its connection ended, or its relay answers for
it.
"""

from typing import Final

from portico.model import pages
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint
from portico.translate.typed import Body, extension

_UNSEEN: Final = "connect-failure,refused-stream,reset-before-request"

_POLICY: Final[Body] = {
    "retry_on": _UNSEEN,
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
_SAFE: Final[Body] = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS|TRACE"}}}


def retry_policy(frame: EdgeFrame | None = None) -> Body:
    """The policy of a route; with `frame`, what a relay says that nobody saw goes to another address."""
    if frame is None:
        return _POLICY
    unseen = {"name": pages.unseen_mark(frame.mark_header), "present_match": True}
    return {**_POLICY, "retry_on": f"{_UNSEEN},retriable-headers", "retriable_headers": [unseen]}


def has_another(endpoint: Endpoint | None) -> bool:
    """Whether a request has somewhere else to go."""
    return endpoint is not None and len(endpoint.addresses) > 1


def with_safe_methods(route: Body, frame: EdgeFrame) -> list[Body]:
    """A route of a pool, and before it the same for the methods that may be sent again after they were seen.

    They are sent again, too, where a relay has a page to show: its agent or the service behind it has failed.
    """
    if "route" not in route:
        return [route]
    policy = {**route["route"]["retry_policy"]}
    policy["retry_on"] += ",reset"
    if "retriable_headers" in policy:
        policy["retriable_headers"] = [{"name": frame.mark_header, "present_match": True}]
    match = {**route["match"], "headers": [*route["match"].get("headers", ()), _SAFE]}
    return [{**route, "match": match, "route": {**route["route"], "retry_policy": policy}}, route]
