"""Endpoints as Envoy is to serve them: the registry's, with IP addresses for names, and with uploaded certificates.

Most names ask for their certificate at the first handshake, and then get the upload. Names right under the edge's
domain share the edge's own certificate and ask for none, so an upload for one of them is given to its endpoint here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from portico.certificates.uploads import Upload, Uploads
from portico.edge.endpoint_metrics import EndpointMetrics
from portico.edge.registry import Registry
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Address, Endpoint, EndpointUrl, HostPort
from portico.translate.chains import certificate_chain
from portico.translate.names import EDGE_CHAIN


class Served:
    """A view of the registry for the publisher."""

    def __init__(
        self,
        registry: Registry,
        uploads: Uploads,
        frame: EdgeFrame,
        ips: Callable[[str], tuple[str, ...]],
        metrics: EndpointMetrics,
        policy: Callable[[str, str], str],
    ) -> None:
        """`ips` gives the IP addresses of an upstream's host, `policy` an owner's policy with what it names."""
        self._registry = registry
        self._ips = ips
        self._uploads = uploads
        self._frame = frame
        self._metrics = metrics
        self._policy = policy
        self._given: dict[EndpointUrl, str] = {}
        """Id of the upload that each endpoint was last seen with."""

    def endpoint(self, url: EndpointUrl) -> Endpoint | None:
        """What Envoy is to know of `url`."""
        self._given.pop(url, None)
        endpoint = self._registry.endpoint(url)
        if endpoint is not None:
            pools = tuple(replace(pool, addresses=tuple(self._by_ip(pool.addresses))) for pool in endpoint.pools)
            endpoint = replace(endpoint, addresses=tuple(self._by_ip(endpoint.addresses)), pools=pools)
            endpoint = replace(endpoint, traffic_policy=self._policy(endpoint.traffic_policy, endpoint.owner))
            endpoint = replace(endpoint, metered=self._metrics.admits(endpoint))
        else:
            self._metrics.forget(url)
        if endpoint is None or endpoint.tls is None or endpoint.tls.key_pair is not None:
            return endpoint
        upload = self._upload(url)
        if upload is None:
            return endpoint
        self._given[url] = upload.id
        return replace(endpoint, tls=replace(endpoint.tls, key_pair=upload.pair))

    def _by_ip(self, addresses: Iterable[Address]) -> Iterator[Address]:
        """Each IP address of a name has the name's weight, as Envoy would have it."""
        for address in addresses:
            if isinstance(address, HostPort):
                yield from (replace(address, host=ip) for ip in self._ips(address.host))
            else:
                yield address

    def outdated(self) -> list[EndpointUrl]:
        """The URLs that another upload (or none) stands for than when they were last seen."""
        current = {url: upload.id for url in self._registry.urls if (upload := self._upload(url))}
        return [url for url in {*current, *self._given} if current.get(url) != self._given.get(url)]

    def _upload(self, url: EndpointUrl) -> Upload | None:
        if certificate_chain(url.host, self._frame) != EDGE_CHAIN:
            return None
        return self._uploads.best_for(url.host, datetime.now(UTC))
