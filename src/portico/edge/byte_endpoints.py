"""What the gate has to know of endpoints of tcp and tls, kept in step with what Envoy is to know."""

from collections.abc import Iterable
from pathlib import Path

from portico.gate.byte_endpoints import DIRECTORY, ByteEndpoint, ByteEndpoints
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.translate.byte_policies import asks_gate


class ToldGate:
    """Writes the gate's files."""

    def __init__(self, run_dir: Path) -> None:
        self._files = ByteEndpoints(run_dir / DIRECTORY)
        self._written: set[EndpointUrl] = set()

    def begin(self, endpoints: Iterable[Endpoint]) -> None:
        """These are all there are. Raises OSError."""
        known = [one for endpoint in endpoints if (one := told(endpoint))]
        self._files.keep(one.url for one in known)
        for one in known:
            self._files.put(one)
            self._written.add(EndpointUrl.parse(one.url))

    def tell(self, url: EndpointUrl, endpoint: Endpoint | None) -> None:
        """What `url` is now. Raises OSError."""
        known = told(endpoint) if endpoint else None
        if known is not None:
            self._files.put(known)
            self._written.add(url)
        elif url in self._written:
            self._files.remove(str(url))
            self._written.discard(url)


def told(endpoint: Endpoint) -> ByteEndpoint | None:
    """What the gate has to know of an endpoint; nothing where no policy asks it, or leads there."""
    if endpoint.is_http or not (asks_gate(endpoint) or (endpoint.is_internal and endpoint.addresses)):
        return None
    return ByteEndpoint(
        url=str(endpoint.url),
        owner=endpoint.owner,
        serves=bool(endpoint.addresses or endpoint.routes),
        policy=endpoint.traffic_policy,
    )
