"""What the gate has to know of endpoints, kept in step with what Envoy is to know.

Of those of tcp and tls it is told all; of the others, that a policy comes which will ask.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from portico.edge.gate import asks_in_requests, wake
from portico.gate.byte_endpoints import DIRECTORY, ByteEndpoint, ByteEndpoints
from portico.model.endpoint import NOBODY, Endpoint, EndpointUrl
from portico.translate.byte_policies import asks_gate

_CONNECT: Final = "on_tcp_connect"


class ToldGate:
    """Writes the gate's files, and has it start before it is asked."""

    def __init__(self, run_dir: Path, gate_socket: str, *, counts_together: bool = False) -> None:
        self._gate_socket = gate_socket
        self._counts_together = counts_together
        self._files = ByteEndpoints(run_dir / DIRECTORY)
        self._written: set[EndpointUrl] = set()

    def begin(self, endpoints: Iterable[Endpoint]) -> None:
        """These are all there are. Raises OSError."""
        known = {endpoint.url: (endpoint, told(endpoint)) for endpoint in endpoints}
        self._files.keep(one.url for _, one in known.values() if one)
        for url, (endpoint, one) in known.items():
            self._follow(url, endpoint, one)

    def tell(self, url: EndpointUrl, endpoint: Endpoint | None) -> None:
        """What `url` is now. Raises OSError."""
        self._follow(url, endpoint, told(endpoint) if endpoint else None)

    def _follow(self, url: EndpointUrl, endpoint: Endpoint | None, known: ByteEndpoint | None) -> None:
        if known is not None:
            self._files.put(known)
            self._written.add(url)
        elif url in self._written:
            self._files.remove(str(url))
            self._written.discard(url)
        if endpoint is not None and self._will_ask(endpoint):
            wake(self._gate_socket)

    def _will_ask(self, endpoint: Endpoint) -> bool:
        if endpoint.is_http:
            return asks_in_requests(endpoint.traffic_policy, counts_together=self._counts_together)
        return asks_gate(endpoint)


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
