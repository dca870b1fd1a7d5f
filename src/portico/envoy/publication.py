"""Who waits for what: a publication is done when every connected Envoy has answered for all of its resources."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from portico.envoy.snapshot import Entry
from portico.model.errors import BIND_REJECTED, EDGE_BUSY, PorticoError
from portico.translate.resource import ResourceKey


class ResourceRejected(PorticoError):  # noqa: N818 - it tells what happened
    """Envoy refused some resources; it keeps their earlier versions, and everything else of the publication is live."""

    def __init__(self, reasons: dict[ResourceKey, str]) -> None:
        self.reasons = reasons
        """What Envoy said, by resource."""
        told = "; ".join(f"{key.type_url.rpartition('.')[2]} {key.name!r}: {why}" for key, why in reasons.items())
        super().__init__(BIND_REJECTED, f"Envoy rejected {told}")

    @property
    def names(self) -> list[str]:
        """The names of the rejected resources."""
        return [key.name for key in self.reasons]

    @property
    def address_in_use(self) -> bool:
        """Whether a listener was refused because another program holds its address."""
        return any("Address already in use" in reason for reason in self.reasons.values())


class EnvoyUnavailable(PorticoError):  # noqa: N818 - it tells what happened
    """No Envoy acknowledged in time.

    The snapshot keeps the change: Envoy is told when it is back, unless whoever published it removes it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(EDGE_BUSY, message)


@dataclass(slots=True)
class _Wait:
    serial: int
    peers: set[int]
    """Envoys that have yet to answer; empty until one connects means that the next one answers for all."""
    acknowledged: bool = False


class Publication:
    """One change on its way to Envoy."""

    def __init__(self) -> None:
        self.waits: dict[ResourceKey, _Wait] = {}
        self.rejected: dict[ResourceKey, str] = {}
        self._settled = asyncio.Event()

    def check(self) -> None:
        """Wake whoever awaits it once nothing is outstanding."""
        if not self.waits:
            self._settled.set()

    async def settled(self) -> None:
        """Return when every Envoy has answered for everything."""
        await self._settled.wait()


class Ledger:
    """All publications that wait, by the resources that they wait for."""

    def __init__(self) -> None:
        self._waiting: defaultdict[ResourceKey, list[Publication]] = defaultdict(list)

    def wait(self, publication: Publication, entry: Entry, peers: set[int]) -> None:
        """Let `publication` wait until `peers` have answered for `entry`; no peers means whoever connects first."""
        publication.waits[entry.key] = _Wait(entry.serial, peers)
        self._waiting[entry.key].append(publication)

    def acknowledge(self, entry: Entry, peer: int) -> None:
        """`peer` has `entry`, and with it whatever came before."""
        for publication in tuple(self._waiting.get(entry.key, ())):
            wait = publication.waits[entry.key]
            if wait.serial <= entry.serial:
                wait.acknowledged = True
                wait.peers.discard(peer)
                if not wait.peers:
                    self._finish(publication, entry.key)

    def withdraw(self, entry: Entry) -> None:
        """`entry` says that the resource is gone, and no Envoy had it: there is nothing left to wait for."""
        for publication in tuple(self._waiting.get(entry.key, ())):
            self._finish(publication, entry.key)

    def reject(self, entry: Entry, reason: str) -> None:
        """`entry` itself was refused."""
        for publication in tuple(self._waiting.get(entry.key, ())):
            if publication.waits[entry.key].serial == entry.serial:
                publication.rejected[entry.key] = reason
                self._finish(publication, entry.key)

    def lost(self, peer: int) -> None:
        """`peer` is gone: the others' answers count, and where there is none the next Envoy's will."""
        for key in tuple(self._waiting):
            for publication in tuple(self._waiting.get(key, ())):
                wait = publication.waits[key]
                if peer in wait.peers:
                    wait.peers.discard(peer)
                    if not wait.peers and wait.acknowledged:
                        self._finish(publication, key)

    def forget(self, publication: Publication) -> None:
        """Nobody awaits `publication` any more."""
        for key in tuple(publication.waits):
            self._finish(publication, key)

    def _finish(self, publication: Publication, key: ResourceKey) -> None:
        del publication.waits[key]
        waiting = self._waiting[key]
        waiting.remove(publication)
        if not waiting:
            del self._waiting[key]
        publication.check()
