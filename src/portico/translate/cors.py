"""Which pages of other origins may use an endpoint's answers: Envoy's filter, which answers browsers' questions itself.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/cors_filter
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from portico.model.route import Cors, FieldMatch, Match
from portico.translate.typed import Body, extension, typed

FILTER: Final = "cors"
_CONFIG: Final = "typed_per_filter_config"


def cors_filter() -> Body:
    """The filter; it does nothing where the route says nothing."""
    return extension(FILTER, "envoy.extensions.filters.http.cors.v3.Cors")


def for_scope(routes: Iterable[Body]) -> Body:
    """Per-scope configuration: the filter is off where no route has a rule for it."""
    if any(FILTER in route.get(_CONFIG, ()) for route in routes):
        return {}
    return {FILTER: typed("envoy.config.route.v3.FilterConfig", disabled=True)}


def for_route(cors: Cors | None) -> Body:
    """The fields of a route."""
    if cors is None:
        return {}
    policy = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[_origin(origin) for origin in cors.origins],
        allow_methods=", ".join(cors.methods),
        max_age=str(cors.max_age),
        allow_credentials=cors.credentials,
        **({"allow_headers": ", ".join(cors.headers)} if cors.headers else {}),
        **({"expose_headers": ", ".join(cors.exposed)} if cors.exposed else {}),
    )
    return {_CONFIG: {FILTER: policy}}


def preflight(match: Match) -> Match:
    """What a browser asks before the request that `match` is for."""
    wanted = FieldMatch("access-control-request-method")
    if match.methods:
        wanted = replace(wanted, value="|".join(match.methods), regex=True)
    return replace(match, methods=("OPTIONS",), headers=(FieldMatch("origin"), wanted))


def _origin(origin: str) -> Body:
    if "*" not in origin:
        return {"exact": origin}
    return {"safe_regex": {"regex": re.escape(origin).replace(r"\*", r"[^/]+")}}
