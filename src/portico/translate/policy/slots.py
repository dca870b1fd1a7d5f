"""Where policies run: composite filters in every connection manager, some for each hop of a visit.

Hop 0 is the endpoint that the visitor came to; the others are internal endpoints that forward-internal leads to, whose
scopes fill the composites of their hop, one for each part of their policy. A scope without a policy switches all of
them off, which costs nothing; for most policies the first is enough, and the others, in one filter chain, are off. A
composite asks the scope only when a request comes to it, so one that `lookup` or forward-internal found counts.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/composite_filter
"""

from functools import lru_cache
from typing import Final

from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.geoip import GeoDatabases
from portico.translate import names
from portico.translate.policy.together import Together
from portico.translate.typed import Body, extension, typed

HOPS: Final = 3
"""An endpoint, and internal ones behind it."""
MAX_PARTS: Final = 4
"""Composites for one endpoint: what waits within one goes on behind it (Envoy 1.40), so a policy is cut there."""
TOKEN_HEADER: Final = "x-edge-policy"  # noqa: S105 - its name
"""Request header with the word of a policy that it has let a request through. Its value is this node's secret."""


_OFF: Final = typed("envoy.config.route.v3.FilterConfig", disabled=True)
_MORE: Final = "policy-more"
_CHAIN: Final = "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"


def slot_filters() -> list[Body]:
    """The composites, empty until a scope fills them: the first, and all others behind one switch."""
    first, *others = [_name(hop, part) for hop in range(HOPS) for part in range(MAX_PARTS)]
    return [
        _composite(first),
        extension(_MORE, _CHAIN, default_filter_chain={"filters": list(map(_composite, others))}),
    ]


def for_scope(endpoint: Endpoint | None, frame: EdgeFrame, hop: int = 0) -> Body:
    """Per-scope configuration: the endpoint's policy in the composites of its hop; what it does not need is off."""
    if endpoint is None or not endpoint.traffic_policy:
        return switched_off()
    inner = names.internal_class(endpoint.owner, hop + 1) if hop + 1 < HOPS else None
    together = Together.of(endpoint, frame)
    word = token(frame, hop)
    parts = _parts(endpoint.traffic_policy, frame.policy_script, endpoint.url, hop, word, inner, together, frame.geoip)
    alone = hop == 0 and len(parts) == 1 and not _forwards(endpoint.traffic_policy)
    return {
        **({_MORE: _OFF} if alone else {}),
        **{_name(hop, number): _filled(filters) for number, filters in enumerate(parts)},
    }


def switched_off() -> Body:
    """Per-scope configuration where no policy runs."""
    return {_name(0, 0): _OFF, _MORE: _OFF}


def _filled(filters: list[Body]) -> Body:
    action = extension(
        "policy",
        "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
        filter_chain={"typed_config": filters},
    )
    return typed(
        "envoy.extensions.filters.http.composite.v3.CompositePerRoute", matcher={"on_no_match": {"action": action}}
    )


def token(frame: EdgeFrame, hop: int) -> str:
    """What the policy of a hop writes into `TOKEN_HEADER`: nobody outside of this node knows it."""
    return f"{frame.mark_header}-{hop}"


@lru_cache(256)
def _parts(
    text: str,
    script: str,
    url: EndpointUrl,
    hop: int,
    word: str,
    inner: str | None,
    together: Together | None,
    geoip: GeoDatabases,
) -> list[list[Body]]:
    # Imported here: its 150 ms of CPU time are for the first endpoint with a policy, not for every start.
    from portico.policy.document import read_policy
    from portico.translate.policy.program import Place, policy_filters

    return policy_filters(read_policy(text).policy, script, Place(url, hop, word, inner, together, geoip))


def _forwards(text: str) -> bool:
    """Whether the scope of another endpoint may follow, which then finds its composite switched on."""
    return "forward-internal" in text


def _composite(name: str) -> Body:
    return extension(name, "envoy.extensions.filters.http.composite.v3.Composite")


def _name(hop: int, part: int) -> str:
    return f"policy{hop}-{part}"
