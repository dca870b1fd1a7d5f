"""What routes lead to: pools as they are now, and who has to hear when one of them changes."""

from collections.abc import Callable, Iterable, Iterator

from portico.edge.bind_request import PoolRequest
from portico.edge.naming import Naming
from portico.model.balancing import USUAL, Balancing
from portico.model.endpoint import Endpoint, EndpointUrl, Pool


def led_to(
    requests: Iterable[PoolRequest],
    endpoint_of: Callable[[EndpointUrl], Endpoint | None],
    naming: Naming,
    balancing: Balancing = USUAL,
) -> tuple[Pool, ...]:
    """The pools; one of an endpoint that is unknown or offline is empty, for its agents may come.

    Services that the edge reaches itself are balanced by `balancing`, what serves an endpoint as that endpoint is. One
    that has routes itself is no pool, and its share is answered with 500: so there are no loops.
    """
    return tuple(_pools(requests, endpoint_of, naming, balancing))


def _pools(
    requests: Iterable[PoolRequest],
    endpoint_of: Callable[[EndpointUrl], Endpoint | None],
    naming: Naming,
    balancing: Balancing,
) -> Iterator[Pool]:
    for wanted in requests:
        if wanted.endpoint is None:
            yield Pool(wanted.name, wanted.upstreams, wanted.upstream_http, wanted.proxy_protocol, balancing=balancing)
            continue
        source = naming.asked_for(wanted.endpoint)
        found = endpoint_of(source)
        if found is None:
            yield Pool(wanted.name, (), source=source)
        elif not found.routes:
            yield Pool(
                wanted.name,
                found.addresses,
                found.upstream_http,
                found.proxy_protocol,
                found.host_header,
                found.balancing,
                source,
            )


class Followers:
    """Which endpoints lead to what serves another one."""

    def __init__(self) -> None:
        self._sources: dict[EndpointUrl, set[EndpointUrl]] = {}
        self._followers: dict[EndpointUrl, set[EndpointUrl]] = {}

    def note(self, url: EndpointUrl, endpoint: Endpoint | None) -> None:
        """Keep what `url` leads to now; None where it is gone."""
        sources = {pool.source for pool in endpoint.pools if pool.source is not None} if endpoint else set()
        before = self._sources.pop(url, set())
        for source in before - sources:
            self._followers[source].discard(url)
            if not self._followers[source]:
                del self._followers[source]
        for source in sources:
            self._followers.setdefault(source, set()).add(url)
        if sources:
            self._sources[url] = sources

    def of(self, source: EndpointUrl) -> list[EndpointUrl]:
        """The endpoints that lead to what serves `source`, in a stable order."""
        return sorted(self._followers.get(source, ()))
