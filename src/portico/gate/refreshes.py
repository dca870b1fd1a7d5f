"""Sessions that are being refreshed: requests that come side by side with one old cookie ask the provider once.

Refresh tokens are good for one use at many providers (RFC 9700, 2.2.2), so a second use would end the session.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from portico.gate.session import Session

KEPT_SECONDS: Final = 60.0
MOST: Final = 10_000
_Key: TypeAlias = tuple[str, float]


class Refreshes:
    """Those under way, and those just done."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._turns: OrderedDict[_Key, tuple[float, asyncio.Task[Session]]] = OrderedDict()

    async def refreshed(self, session: Session, refresh: Callable[[Session], Awaitable[Session]]) -> Session:
        """The session as `refresh` makes it anew; raises what that raises."""
        key = (session.id, session.asked)
        self._forget()
        turn = self._turns.get(key)
        if turn is None or (turn[1].done() and (turn[1].cancelled() or turn[1].exception() is not None)):
            turn = (self._clock() + KEPT_SECONDS, asyncio.create_task(_awaited(refresh, session)))
            self._turns[key] = turn
        # Who goes away does not take the refresh from the others.
        return await asyncio.shield(turn[1])

    def _forget(self) -> None:
        now = self._clock()
        while self._turns and (len(self._turns) > MOST or next(iter(self._turns.values()))[0] <= now):
            self._turns.popitem(last=False)


async def _awaited(refresh: Callable[[Session], Awaitable[Session]], session: Session) -> Session:
    return await refresh(session)
