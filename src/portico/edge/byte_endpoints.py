"""What the gate has to know of endpoints of tcp and tls, kept in step with what Envoy is to know."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from portico.edge.gate import wake
from portico.gate.byte_endpoints import DIRECTORY, ByteEndpoint, ByteEndpoints
from portico.model.endpoint import NOBODY, Endpoint, EndpointUrl
from portico.translate.byte_policies import asks_gate

_CONNECT: Final = "on_tcp_connect"


class ToldGate:
    """Writes the gate's files."""

    def __init__(self, run_dir: Path, gate_socket: str) -> None:
        self._gate_socket = gate_socket
        self._files = ByteEndpoints(run_dir / DIRECTORY)
        self._written: set[EndpointUrl] = set()

    def begin(self, endpoints: Iterable[Endpoint]) -> None:
        """These are all there are. Raises OSError."""
        known = [one for endpoint in endpoints if (one := told(endpoint))]
        self._files.keep(one.url for one in known)
        for one in known:
            self._put(EndpointUrl.parse(one.url), one)

    def tell(self, url: EndpointUrl, endpoint: Endpoint | None) -> None:
        """What `url` is now. Raises OSError."""
        known = told(endpoint) if endpoint else None
        if known is not None:
            self._put(url, known)
        elif url in self._written:
            self._files.remove(str(url))
            self._written.discard(url)

    def _put(self, url: EndpointUrl, known: ByteEndpoint) -> None:
        self._files.put(known)
        self._written.add(url)
        if known.policy:
            wake(self._gate_socket)


def told(endpoint: Endpoint) -> ByteEndpoint | None:
    """What the gate has to know of an endpoint; nothing where no policy asks it, or leads there."""
    led_to = endpoint.is_internal and bool(endpoint.addresses)
    if endpoint.is_http or not (asks_gate(endpoint) or led_to):
        return None
    return ByteEndpoint(
        url=str(endpoint.url),
        owner=endpoint.owner,
        # Routes of an internal endpoint are of the listener that it has not.
        serves=bool(endpoint.addresses or (endpoint.routes and not endpoint.is_internal)),
        policy=_with_networks(endpoint) if endpoint.is_internal else endpoint.traffic_policy,
    )


def _with_networks(endpoint: Endpoint) -> str:
    """The policy behind the networks that may come: of public endpoints a filter chain knows them."""
    if endpoint.networks is None:
        return endpoint.traffic_policy
    allow = list(endpoint.networks.ranges() or NOBODY)
    phases = json.loads(endpoint.traffic_policy or "{}")
    restricted = {"actions": [{"type": "restrict-ips", "config": {"allow": allow}}]}
    return json.dumps({_CONNECT: [restricted, *phases.get(_CONNECT, [])]})
