"""The HTTP filters of every connection manager, in their one order, with the reason for each place."""

from portico.model.edge import EdgeFrame
from portico.translate import names, visitor_certificate
from portico.translate.challenges import challenge_filter
from portico.translate.cors import cors_filter
from portico.translate.lookup import lookup_filter
from portico.translate.networks import network_filter
from portico.translate.policy.slots import slot_filters
from portico.translate.typed import Body, extension


def http_filters(frame: EdgeFrame, scope_class: str, labels: int, *, tells_certificate: bool) -> list[Body]:
    """The filters in order; `lookup` finds wildcards for hosts of `labels` labels.

    What stands between the first and the last must be on by default and switched off by the scopes that do not use it:
    which filters run is decided from the scope known at the start, and for a host that `lookup` finds there is none.
    """
    answers = frame.challenges is not None and scope_class == names.PLAIN
    return [
        # Before any endpoint: a certificate authority that looks for a challenge means the edge, if the edge knows it.
        *([challenge_filter()] if answers else []),
        # Then: it settles which endpoint is meant, so everything behind it runs under that endpoint's settings.
        lookup_filter(frame, scope_class, labels),
        # Who may not come in costs nothing more.
        network_filter(),
        # Only for whom the networks let in: the endpoint's policy, then those of internal endpoints behind it.
        *slot_filters(),
        # Behind the policy, which may have made another route the request's.
        cors_filter(),
        # On the chains alone that ask for a certificate, whose every request has one or may have one.
        *([visitor_certificate.name_filter()] if tells_certificate else []),
        # Last by Envoy's rule. The x-envoy headers would tell upstreams and visitors of the edge's inside. Counters of
        # each status for each cluster cost 2 % of a request's CPU, so they are for those who want figures of endpoints.
        extension(
            "envoy.filters.http.router",
            "envoy.extensions.filters.http.router.v3.Router",
            suppress_envoy_headers=True,
            dynamic_stats=frame.endpoint_metrics,
        ),
    ]
