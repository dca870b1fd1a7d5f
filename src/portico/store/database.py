"""What a store asks of the database under it: the part in which SQLite and PostgreSQL differ."""

from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portico.store.changes import RecordChange


class Database(Protocol):
    """An opened database."""

    @property
    def name(self) -> str:
        """What messages call it; nothing secret."""

    @property
    def shared(self) -> bool:
        """Whether other nodes may use it at the same time."""

    @property
    def reader(self) -> Engine:
        """Its transactions see one moment, and never wait for those that write."""

    @property
    def writer(self) -> Engine:
        """Its transactions come one after another, whoever begins them; what they see stays true."""

    def check(self) -> None:
        """Look whether it can be used at all."""

    def tell(self, session: Session, payload: str) -> None:
        """Tell the other nodes, once the transaction of `session` is committed."""

    def changes(self, own: str) -> AsyncGenerator[RecordChange | None]:
        """What nodes other than `own` have told; None where anything may have changed. Ends where nobody shares it."""

    def explained(self) -> AbstractContextManager[None]:
        """Work on it: errors of the database become PorticoError, but for IntegrityError, a fault of the caller."""

    def close(self) -> None:
        """Close all connections."""
