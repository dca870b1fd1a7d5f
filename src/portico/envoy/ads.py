"""The delta ADS server: Envoy's configuration, sent as it changes and acknowledged by every connected Envoy.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#incremental-xds
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

import grpc

from portico.envoy.delivery import Delivery, SecretReleased, SecretWanted
from portico.envoy.descriptors import MessageTypes
from portico.envoy.encode import Codec, EncodeError
from portico.envoy.peer import Peer
from portico.envoy.publication import EnvoyUnavailable, Publication, ResourceRejected
from portico.translate.resource import Resource, ResourceKey

log = logging.getLogger(__name__)

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_REQUEST: Final = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
_STOP_GRACE: Final = 0.2
_UNLIMITED: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Envoy pings each 30 seconds (bootstrap.py). Where there is no other news, gRPC would call that too many and end
    # the connection every few minutes, and Envoy ask for everything again.
    ("grpc.http2.max_ping_strikes", 0),
)


class AdsServer:
    """Serves any number of Envoys on one Unix socket. All methods belong to one event loop.

    `on_secret_wanted(name)` is asked for a secret that Envoy names and nobody published (certificates on demand); it
    returns the resource, or None for "there is none", and may be a coroutine function. `on_secret_released(name)` tells
    that no Envoy uses such a secret any more.
    """

    def __init__(
        self,
        socket_path: Path,
        types: MessageTypes,
        *,
        on_secret_wanted: SecretWanted | None = None,
        on_secret_released: SecretReleased | None = None,
    ) -> None:
        self._socket_path = socket_path
        self._types = types
        self._codec = Codec(types)
        self._delivery = Delivery(types, self._codec, on_secret_wanted, on_secret_released)
        self._request: Any = types.message(_REQUEST)
        self._open = asyncio.Event()
        self._open.set()
        self._idents = itertools.count(1)
        self._server: Any = None

    async def start(self) -> None:
        """Listen on the socket, replacing one that an earlier process left behind."""
        self._socket_path.unlink(missing_ok=True)
        method = grpc.stream_stream_rpc_method_handler(self._stream)
        service = grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": method})
        self._server = grpc.aio.server(options=_UNLIMITED)
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix:{self._socket_path}")
        await self._server.start()
        self._socket_path.chmod(0o600)

    async def stop(self) -> None:
        """End all streams. Envoy goes on with what it has, and connects again when the next server is there."""
        await self._delivery.close()
        await self._server.stop(_STOP_GRACE)
        self._socket_path.unlink(missing_ok=True)

    def hold(self) -> None:
        """Answer no Envoy until `open`: before `start`, while what is live is still being gathered."""
        self._open.clear()

    def open(self) -> None:
        """The snapshot is complete: answer."""
        self._open.set()

    @property
    def connected(self) -> int:
        """How many Envoys have a stream."""
        return len(self._delivery.peers)

    def submit(self, set: Iterable[Resource] = (), remove: Iterable[ResourceKey | tuple[str, str]] = ()) -> Publication:  # noqa: A002
        """Change the snapshot and send it, without waiting. Raises ResourceRejected for what cannot be encoded."""
        encoded: list[tuple[ResourceKey, bytes]] = []
        bodies: dict[ResourceKey, dict[str, Any]] = {}
        failed: dict[ResourceKey, str] = {}
        for resource in set:
            try:
                encoded.append((resource.key, self._codec.encode(resource.type_url, resource.body)))
                bodies[resource.key] = resource.body
            except EncodeError as error:
                failed[resource.key] = str(error)
        if failed:
            raise ResourceRejected(failed)
        removed = [key for key in (ResourceKey(*pair) for pair in remove) if key not in bodies]
        return self._delivery.change(encoded, removed, bodies)

    async def publish(
        self,
        set: Iterable[Resource] = (),  # noqa: A002
        remove: Iterable[ResourceKey | tuple[str, str]] = (),
        timeout: float = 10.0,
    ) -> None:
        """Change the snapshot; return when every connected Envoy has acknowledged all of it. `timeout` is in seconds.

        Raises ResourceRejected for what Envoy refuses (the rest is live), EnvoyUnavailable when the time is over.
        """
        await self.acknowledged(self.submit(set, remove), timeout)

    async def acknowledged(self, publication: Publication, timeout: float = 10.0) -> None:
        """Wait for what `submit` sent, like `publish`."""
        try:
            async with asyncio.timeout(timeout):
                await publication.settled()
        except TimeoutError:
            outstanding = ", ".join(sorted(repr(key.name) for key in publication.waits)[:5])
            if not publication.rejected:
                raise EnvoyUnavailable(f"No Envoy acknowledged {outstanding} within {timeout:g} s") from None
        finally:
            self._delivery.ledger.forget(publication)
        if publication.rejected:
            raise ResourceRejected(publication.rejected)

    def dump(self) -> list[Resource]:
        """What Envoy is meant to have, for people to look at. Holds secrets."""
        return [
            Resource(entry.key.type_url, entry.key.name, self._codec.decode(entry.key.type_url, entry.payload))
            for entry in self._delivery.snapshot
            if entry.payload is not None
        ]

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        peer = Peer(next(self._idents), self._types, outbox.put_nowait)
        facts = {"peer": peer.ident}
        log.info("envoy connected", extra=facts)
        self._delivery.join(peer)
        writer = asyncio.create_task(_write(outbox, context))
        try:
            async for raw in requests:
                await self._open.wait()
                self._delivery.handle(peer, self._request.FromString(raw))
        finally:
            writer.cancel()
            self._delivery.leave(peer)
            log.info("envoy disconnected", extra=facts)


async def _write(outbox: asyncio.Queue[bytes], context: Any) -> None:
    while True:
        await context.write(await outbox.get())
