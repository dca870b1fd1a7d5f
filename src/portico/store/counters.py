"""Rate limits counted in the PostgreSQL database that nodes share: one statement takes requests of a key's window.

Not through `Store`: its writers wait for each other, and these must not. The rows are as good as the server's last
second: a commit does not wait for the disk, so a crash of the server may forget what was counted just before.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from sqlalchemy import Connection, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from portico.model.errors import DATABASE_UNUSABLE, PorticoError
from portico.store.postgres import engine, reason_of, target_of

MOST_KEYS: Final = 100_000
"""Windows that one limit keeps between sweeps; beyond that those go that began first."""
BATCH: Final = 10_000
"""Rows removed by one statement."""
_ROUNDS: Final = 100
_CONNECTIONS: Final = 4
_STATEMENT_SECONDS: Final = 3
_R = TypeVar("_R")

_GRANT: Final = "least(:wanted, :capacity - kept.used, greatest(1, (:capacity - kept.used) / 10))"
_TAKE: Final = text(f"""
    INSERT INTO rate_windows AS kept (limit_id, key_digest, ends_at, used, granted)
    VALUES (:limit, :key, now() + make_interval(secs => :seconds), :first, :first)
    ON CONFLICT (limit_id, key_digest) DO UPDATE SET
        ends_at = CASE WHEN kept.ends_at <= now() THEN excluded.ends_at ELSE kept.ends_at END,
        used = CASE WHEN kept.ends_at <= now() THEN excluded.used ELSE kept.used + {_GRANT} END,
        granted = CASE WHEN kept.ends_at <= now() THEN excluded.granted ELSE {_GRANT} END
    RETURNING granted, CAST(extract(epoch FROM ends_at - now()) AS double precision)
""")  # noqa: S608 - both parts are written here
"""Of two at once the second waits for the first, and then sees its row. `now()` is when the statement began, so what is
left of the window is never told too long."""
_SWEEP: Final = text("""
    DELETE FROM rate_windows WHERE ends_at < now() AND ctid = ANY(ARRAY(
        SELECT ctid FROM rate_windows WHERE ends_at < now() ORDER BY ends_at LIMIT :batch FOR UPDATE SKIP LOCKED))
""")
_CROWDED: Final = text("SELECT limit_id FROM rate_windows GROUP BY limit_id HAVING count(*) > :most")
_THIN_OUT: Final = text("""
    DELETE FROM rate_windows WHERE limit_id = :limit AND ctid = ANY(ARRAY(
        SELECT ctid FROM rate_windows WHERE limit_id = :limit ORDER BY ends_at DESC OFFSET :most LIMIT :batch))
""")


class Counters:
    """The counts of all nodes. Its methods block; several threads may call them at once."""

    def __init__(self, url: str) -> None:
        """`url` as `Store.open` takes it. Nothing is connected yet. Raises PorticoError(STORE_UNUSABLE) as it does."""
        self._engine = engine(target_of(url), _CONNECTIONS, isolation_level="AUTOCOMMIT")
        event.listen(self._engine, "connect", _prepare_connection)

    def take(self, limit: str, key: str, capacity: int, seconds: int, wanted: int) -> tuple[int, float]:
        """Requests of the window that `key` has now, at most `wanted` and a tenth of what is left but at least one;
        none where it has had its `capacity`. Also the seconds until the window ends.

        The first request after that begins the next one. `limit` and `key` are hexadecimal, `key` a digest.
        Raises PorticoError(DATABASE_UNUSABLE) within seconds.
        """
        facts = {
            "limit": bytes.fromhex(limit),
            "key": bytes.fromhex(key),
            "capacity": capacity,
            "seconds": seconds,
            "wanted": wanted,
            "first": min(wanted, max(1, capacity // 10)),
        }

        def ask(connection: Connection) -> tuple[int, float]:
            granted, left = connection.execute(_TAKE, facts).one()
            return granted, left

        return self._connected(ask)

    def sweep(self) -> int:
        """Remove what has ended, and of limits with too many keys the windows that began first; how many."""
        return self._connected(_sweep)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _connected(self, work: Callable[[Connection], _R]) -> _R:
        try:
            try:
                return self._once(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # The pool's connections may be of a server that was restarted. What a lost answer granted is lost.
                return self._once(work)
        except (DBAPIError, PoolTimeoutError) as error:
            raise PorticoError(DATABASE_UNUSABLE, f"rate limits cannot be counted: {reason_of(error)}") from None

    def _once(self, work: Callable[[Connection], _R]) -> _R:
        with self._engine.connect() as connection:
            return work(connection)


def _sweep(connection: Connection) -> int:
    def removed(*statement: object) -> int:
        total = 0
        for _ in range(_ROUNDS):
            count = connection.execute(*statement).rowcount  # type: ignore[call-overload]
            total += count
            if count < BATCH:
                break
        return total

    total = removed(_SWEEP, {"batch": BATCH})
    for limit in connection.scalars(_CROWDED, {"most": MOST_KEYS}).all():
        total += removed(_THIN_OUT, {"limit": limit, "most": MOST_KEYS, "batch": BATCH})
    return total


def _prepare_connection(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET synchronous_commit = off; SET statement_timeout = '{_STATEMENT_SECONDS}s'")
    cursor.close()
