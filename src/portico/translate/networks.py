"""Visitors' addresses that an endpoint lets in: Envoy's role-based access control, by remote address.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/rbac_filter
"""

from ipaddress import ip_network
from typing import Final

from portico.model.endpoint import Networks
from portico.translate.typed import Body, extension, typed

FILTER: Final = "networks"


def network_filter() -> Body:
    """The filter; it lets everybody in until a scope says otherwise."""
    return extension(FILTER, "envoy.extensions.filters.http.rbac.v3.RBAC")


def for_scope(networks: Networks | None) -> Body:
    """Per-scope configuration: the endpoint's networks, or the filter switched off."""
    if networks is None:
        return {FILTER: typed("envoy.config.route.v3.FilterConfig", disabled=True)}
    rules = {
        "action": "ALLOW",
        "policies": {"networks": {"permissions": [{"any": True}], "principals": [_who(networks)]}},
    }
    return {FILTER: typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", rbac={"rules": rules})}


def _who(networks: Networks) -> Body:
    allowed = _any_of(networks.allowed) if networks.allowed else {"any": True}
    if not networks.denied:
        return allowed
    return {"and_ids": {"ids": [allowed, {"not_id": _any_of(networks.denied)}]}}


def _any_of(cidrs: tuple[str, ...]) -> Body:
    return {"or_ids": {"ids": [{"remote_ip": cidr_range(cidr)} for cidr in cidrs]}}


def cidr_range(cidr: str) -> Body:
    """`CidrRange` of a network."""
    network = ip_network(cidr)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}
