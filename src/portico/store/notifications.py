"""Listens to what other nodes tell through PostgreSQL, on a connection of its own."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection, Error

from portico.store.changes import CHANNEL, RecordChange, unpack

log = logging.getLogger(__name__)

_FIRST_RETRY: Final = 0.2
_LAST_RETRY: Final = 5.0
_SILENCE_SECONDS: Final = 15.0
"""After which the server is asked for a sign of life, which its network may owe us otherwise."""
_ANSWER_SECONDS: Final = 5.0
_LISTEN: Final[LiteralString] = f"LISTEN {CHANNEL}"


async def notifications(
    name: str, options: dict[str, Any], own: str, on_connected: Callable[[], None]
) -> AsyncGenerator[RecordChange | None]:
    """What nodes other than `own` tell, without an end; None after each connect, for anything may have changed before.

    `name` is the database's in messages, `options` are psycopg's.
    """
    delay = _FIRST_RETRY
    while True:
        try:
            async with await AsyncConnection.connect(**options, autocommit=True) as connection:
                await connection.execute(_LISTEN)
                on_connected()
                delay = _FIRST_RETRY
                yield None
                while True:
                    async for notification in connection.notifies(timeout=_SILENCE_SECONDS):
                        told = unpack(notification.payload)
                        if told is not None and told[0] != own:
                            yield told[1]
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await connection.execute("SELECT 1")
        except (Error, OSError, TimeoutError) as error:
            reason = "; ".join(str(error).split("\n")) or "it does not answer"
            if delay == _FIRST_RETRY:
                log.error("hears of no changes by other nodes", extra={"database": name, "reason": reason})
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LAST_RETRY)
