"""More connections for one link, where one would hold visitors up.

On one TCP connection a lost segment stops every stream until it has come again, a round trip later. So where the edge
is far away and visitors are many, the link gets legs, over which the relay spreads new visitors.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final

from portico.agent.link import EdgeLink
from portico.model.errors import PorticoError

log = logging.getLogger(__name__)

LEGS: Final = 16
"""Connections of a link at most, its first one included; a relay takes no more."""
STREAMS_PER_LEG: Final = 2
"""Visitors at once for whom one connection will do."""
FAR_SECONDS: Final = 0.004
"""Round trip from which on a lost segment costs more than further connections."""
RETRY_SECONDS: Final = 30.0
"""Pause after a leg was refused."""

Join = Callable[[EdgeLink], Awaitable[EdgeLink]]
"""Dials one more connection for the session of a link. Raises PorticoError."""


class Legs:
    """The further connections of one link; they end with it."""

    def __init__(self, link: EdgeLink, join: Join) -> None:
        self._link = link
        self._join = join
        self._legs: set[EdgeLink] = set()
        self._growing: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def consider(self) -> None:
        """A visitor has come: add what is missing."""
        if self._link.leg_token and self._growing is None and self._may_grow() and self._missing() > 0:
            self._growing = asyncio.get_running_loop().create_task(self._grow(), name="portico legs")

    def stop_growing(self) -> None:
        """Begin to add none any more. What has begun goes on: a connection that has asked to join may have visitors."""
        self._not_before = math.inf

    def close(self) -> None:
        """End them all."""
        self.stop_growing()
        if self._growing is not None:
            self._growing.cancel()
        for leg in list(self._legs):
            leg.protocol.close(message="the session is over")

    def _may_grow(self) -> bool:
        return asyncio.get_running_loop().time() >= self._not_before

    def _missing(self) -> int:
        latency = self._link.protocol.session.latency
        if latency is None or latency < FAR_SECONDS:
            return 0
        links = (self._link, *self._legs)
        streams = sum(link.protocol.session.peer_streams for link in links)
        return min(LEGS, -(-streams // STREAMS_PER_LEG)) - len(links)

    async def _grow(self) -> None:
        try:
            while self._may_grow() and (missing := self._missing()) > 0:
                results = await asyncio.gather(*(self._add() for _ in range(missing)), return_exceptions=True)
                if failure := next((result for result in results if isinstance(result, PorticoError)), None):
                    log.info("no further connection to the edge", extra={"reason": failure.message})
                    self._not_before = asyncio.get_running_loop().time() + RETRY_SECONDS
                    return
        finally:
            self._growing = None

    async def _add(self) -> None:
        leg = await self._join(self._link)
        self._legs.add(leg)
        leg.ended.add_done_callback(lambda _: self._legs.discard(leg))
