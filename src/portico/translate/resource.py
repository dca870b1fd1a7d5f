"""What translation yields: one Envoy resource as a plain dict, so that nothing here needs protobuf."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

_PREFIX: Final = "type.googleapis.com/"

CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
FILTER_CHAIN: Final = _PREFIX + "envoy.config.listener.v3.FilterChain"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTES: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPE: Final = _PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"


class ResourceKey(NamedTuple):
    """What tells resources apart: Envoy keeps names by type."""

    type_url: str
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """An Envoy resource: `body` in proto-JSON names, messages inside an `Any` with `"@type"`."""

    type_url: str
    name: str
    body: dict[str, Any]

    @property
    def key(self) -> ResourceKey:
        """The type and name."""
        return ResourceKey(self.type_url, self.name)
