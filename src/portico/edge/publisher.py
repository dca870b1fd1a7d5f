"""Makes Envoy serve what the registry says: translates one endpoint at a time and waits for Envoy's acknowledgement."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from portico.edge.byte_endpoints import ToldGate
from portico.edge.led_to import Followers
from portico.envoy.ads import AdsServer
from portico.envoy.publication import Publication, ResourceRejected
from portico.model.edge import EdgeFrame
from portico.model.endpoint import Endpoint, EndpointUrl
from portico.model.errors import BIND_REJECTED, PORT_IN_USE, PorticoError
from portico.translate.endpoints import endpoint_resources
from portico.translate.listeners import frame_resources, https_listener, listener_resources
from portico.translate.policy.unknown import refuse_unknown_facts
from portico.translate.resource import Resource, ResourceKey
from portico.translate.sni import SniTable

log = logging.getLogger(__name__)

ACKNOWLEDGE_SECONDS: Final = 15.0
"""How long a change waits for Envoy, which may be starting anew just then."""

BEGIN_SECONDS: Final = 60.0


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Publisher:
    """The one writer of Envoy's configuration."""

    def __init__(
        self,
        ads: AdsServer,
        frame: EdgeFrame,
        endpoint_of: Callable[[EndpointUrl], Endpoint | None],
        on_online: Callable[[Endpoint], None],
        gate: ToldGate,
    ) -> None:
        """`on_online` hears of every endpoint whose change Envoy has acknowledged, `gate` of each before that."""
        self._ads = ads
        self._frame = frame
        self._endpoint_of = endpoint_of
        self._on_online = on_online
        self._gate = gate
        self._published: dict[EndpointUrl, list[ResourceKey]] = {}
        self._table = SniTable()
        self._turns: dict[EndpointUrl, _Turn] = {}
        self._followers = Followers()

    def begin(self, urls: Iterable[EndpointUrl], extra: Iterable[Resource]) -> Publication:
        """Put the frame, `extra` and every endpoint of `urls` into the snapshot, for the first Envoy that asks."""
        resources = [*frame_resources(self._frame), *extra]
        endpoints = {url: endpoint for url in urls if (endpoint := self._endpoint_of(url)) is not None}
        self._gate.begin(endpoints.values())
        for url, endpoint in endpoints.items():
            self._followers.note(url, endpoint)
            try:
                refuse_unknown_facts(endpoint, self._frame)
                own = endpoint_resources(endpoint, self._frame)
            except PorticoError as error:  # it was taken when the node's settings were others
                facts = {"url": str(url), "code": str(error.code), "reason": error.message}
                log.error("an endpoint is not served", extra=facts)
                continue
            self._published[url] = [resource.key for resource in own]
            self._table = self._table.with_endpoint(endpoint, self._frame)
            resources += own
        return self._ads.submit([*resources, *listener_resources(self._frame, self._table)])

    async def begun(self, publication: Publication) -> None:
        """Wait for what `begin` put up. What Envoy refuses of one endpoint is logged, and all else is served.

        Raises PorticoError where no Envoy answered, or where it refused a part of the frame.
        """
        try:
            await self._ads.acknowledged(publication, timeout=BEGIN_SECONDS)
        except ResourceRejected as rejection:
            of_endpoints = {key: url for url, keys in self._published.items() for key in keys}
            for key, reason in rejection.reasons.items():
                if key not in of_endpoints:
                    raise
                log.error("envoy refused an endpoint", extra={"url": str(of_endpoints[key]), "reasons": [reason]})

    async def replace(self, resources: Iterable[Resource]) -> None:
        """Publish resources of the frame anew, such as certificates; what is the same is not sent."""
        await self._ads.publish(resources, timeout=ACKNOWLEDGE_SECONDS)

    async def refresh(self, url: EndpointUrl) -> None:
        """Make Envoy serve what the registry says of `url` now; returns when every Envoy has acknowledged it.

        So do the endpoints whose routes lead to what serves it, each for itself: what is wrong with one is logged.
        Raises PorticoError: PORT_IN_USE, BIND_REJECTED, or EDGE_BUSY where no Envoy answered.
        """
        await self._refresh(url)
        for follower in self._followers.of(url):
            try:
                await self._refresh(follower)
            except PorticoError as error:
                facts = {"url": str(follower), "pool": str(url), "reason": error.message}
                log.error("an endpoint does not follow its pool", extra=facts)

    async def _refresh(self, url: EndpointUrl) -> None:
        async with self._turn(url):
            refuse_unknown_facts(self._endpoint_of(url), self._frame)
            changed, removed = self._difference(url)
            if not changed and not removed:
                return
            try:
                await self._ads.publish(changed, removed, timeout=ACKNOWLEDGE_SECONDS)
            except ResourceRejected as rejection:
                raise _refusal(url, rejection) from None
        endpoint = self._endpoint_of(url)
        if endpoint is not None:
            self._on_online(endpoint)

    def _difference(self, url: EndpointUrl) -> tuple[list[Resource], list[ResourceKey]]:
        endpoint = self._endpoint_of(url)
        self._gate.tell(url, endpoint)
        self._followers.note(url, endpoint)
        changed = endpoint_resources(endpoint, self._frame) if endpoint else []
        keys = [resource.key for resource in changed]
        removed = [key for key in reversed(self._published.pop(url, [])) if key not in keys]
        if endpoint:
            self._published[url] = keys
            table = self._table.with_endpoint(endpoint, self._frame)
        else:
            table = self._table.without(url)
        if not table.matches_like(self._table):
            changed = [*changed, https_listener(self._frame, table)]
        self._table = table
        return changed, removed

    @asynccontextmanager
    async def _turn(self, url: EndpointUrl) -> AsyncIterator[None]:
        """One change of a URL at a time; URLs do not wait for each other."""
        turn = self._turns.setdefault(url, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[url]


def _refusal(url: EndpointUrl, rejection: ResourceRejected) -> PorticoError:
    log.error("envoy refused an endpoint", extra={"url": str(url), "reasons": list(rejection.reasons.values())})
    if rejection.address_in_use:
        return PorticoError(PORT_IN_USE, f"port {url.port} is held by another program on the edge")
    return PorticoError(BIND_REJECTED, f"{url} could not be served")
