"""Where policies run: composite filters in every connection manager, one for each hop of a visit.

Hop 0 is the endpoint that the visitor came to; the others are internal endpoints that forward-internal leads to, whose
scopes fill the composite of their hop. A scope without a policy switches all of them off, which costs nothing. A
composite asks the scope only when a request comes to it, so one that `lookup` or forward-internal found counts.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/composite_filter
"""

from functools import lru_cache
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.translate import names
from portico.translate.typed import Body, extension, typed

HOPS: Final = 3
"""An endpoint, and internal ones behind it."""
TOKEN_HEADER: Final = "x-edge-policy"  # noqa: S105 - its name
"""Request header with the word of a policy that it has let a request through. Its value is this node's secret."""


def slot_filters() -> list[Body]:
    """The composites, empty until a scope fills them."""
    return [extension(_name(hop), "envoy.extensions.filters.http.composite.v3.Composite") for hop in range(HOPS)]


def for_scope(endpoint: Endpoint | None, frame: EdgeFrame, hop: int = 0) -> Body:
    """Per-scope configuration: the endpoint's policy in the composite of its hop, all others switched off."""
    if endpoint is None or not endpoint.traffic_policy:
        return switched_off()
    inner = names.internal_class(endpoint.owner, hop + 1) if hop + 1 < HOPS else None
    filters = _filters(endpoint.traffic_policy, frame.policy_script, endpoint.url, hop, token(frame, hop), inner)
    action = extension(
        "policy",
        "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
        filter_chain={"typed_config": filters},
    )
    filled = typed(
        "envoy.extensions.filters.http.composite.v3.CompositePerRoute", matcher={"on_no_match": {"action": action}}
    )
    off = {} if _forwards(endpoint.traffic_policy) else switched_off()
    return {**off, _name(hop): filled}


def switched_off() -> Body:
    """Per-scope configuration where no policy runs."""
    return {_name(hop): typed("envoy.config.route.v3.FilterConfig", disabled=True) for hop in range(HOPS)}


def token(frame: EdgeFrame, hop: int) -> str:
    """What the policy of a hop writes into `TOKEN_HEADER`: nobody outside of this node knows it."""
    return f"{frame.mark_header}-{hop}"


@lru_cache(256)
def _filters(text: str, script: str, url: EndpointUrl, hop: int, word: str, inner: str | None) -> list[Body]:
    # Imported here: its 150 ms of CPU time are for the first endpoint with a policy, not for every start.
    from portico.policy.document import read_policy
    from portico.translate.policy.program import Place, policy_filters

    return policy_filters(read_policy(text).policy, script, Place(url, hop, word, inner))


def _forwards(text: str) -> bool:
    """Whether the scope of another endpoint may follow, which then finds its composite switched on."""
    return "forward-internal" in text


def _name(hop: int) -> str:
    return f"policy{hop}"
