"""What Envoy will ask for by name because of resources that it gets: chains, secrets, endpoints, routes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from portico.translate.resource import CLUSTER, ENDPOINTS, FILTER_CHAIN, LISTENER, ROUTES, SECRET, ResourceKey

_SECRET_FIELDS: Final = ("tls_certificate_sds_secret_configs", "validation_context_sds_secret_config")


def referenced(roots: Iterable[ResourceKey], bodies: Mapping[ResourceKey, dict[str, Any]]) -> frozenset[ResourceKey]:
    """The resources of one publication that Envoy asks for, or gets anyway: `roots`, and what they lead to."""
    found: set[ResourceKey] = set()
    waiting = list(roots)
    while waiting:
        key = waiting.pop()
        if key in found or key not in bodies:
            continue
        found.add(key)
        waiting.extend(_mentioned(key, bodies[key]))
    return frozenset(found)


def _mentioned(key: ResourceKey, body: dict[str, Any]) -> Iterator[ResourceKey]:
    if key.type_url == CLUSTER and body.get("type") == "EDS":
        service = body.get("eds_cluster_config", {}).get("service_name")
        yield ResourceKey(ENDPOINTS, service or key.name)
    if key.type_url == LISTENER:
        yield from (ResourceKey(FILTER_CHAIN, name) for name in _actions(body.get("filter_chain_matcher", {})))
    if key.type_url != FILTER_CHAIN:
        # Envoy 1.40 does not ask for a secret that only a chain fetched by name mentions; such a chain never works.
        yield from _named(body)


def _named(value: Any) -> Iterator[ResourceKey]:
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, dict):
        for field, inner in value.items():
            if field in _SECRET_FIELDS:
                configs = inner if isinstance(inner, list) else [inner]
                yield from (ResourceKey(SECRET, config["name"]) for config in configs if "sds_config" in config)
            elif field == "rds" and isinstance(inner, dict) and "route_config_name" in inner:
                yield ResourceKey(ROUTES, inner["route_config_name"])
            elif field != "filter_chain_matcher":
                yield from _named(inner)


def _actions(matcher: Any) -> Iterator[str]:
    """The chain names in a matcher: the values of its actions."""
    if isinstance(matcher, list):
        for item in matcher:
            yield from _actions(item)
    elif isinstance(matcher, dict):
        for field, inner in matcher.items():
            if field == "action":
                name = inner.get("typed_config", {}).get("value")
                if isinstance(name, str):
                    yield name
            else:
                yield from _actions(inner)
