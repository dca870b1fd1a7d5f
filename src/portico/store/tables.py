"""The tables. Nothing here is SQLite's alone: a node of its own uses SQLite, several nodes share PostgreSQL."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import DateTime, ForeignKey, Integer, LargeBinary, MetaData, String
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

FIRST_START: Final = "first-start"
"""Source of what the first start made."""
SETTINGS: Final = "settings"
"""Source of what the settings file declares, and takes back when it no longer does."""


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no time zone, so moments are UTC on disk and aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """The time that rows are stamped with."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """All tables. Constraints have names, because a later migration can only drop what has one."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class OwnerRow(Base):
    """Somebody who may hold sessions and endpoints."""

    __tablename__ = "owners"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    source: Mapped[str] = mapped_column(String(20))
    max_sessions: Mapped[int | None] = mapped_column(Integer)
    max_endpoints: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class _Credential:
    """A token, kept as the SHA-256 of its text; `prefix` is what lists show of it."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(8))
    description: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class AuthtokenRow(_Credential, Base):
    """Lets an agent connect."""

    __tablename__ = "authtokens"


class ApiKeyRow(_Credential, Base):
    """Lets a program call the API."""

    __tablename__ = "api_keys"


class DomainRow(Base):
    """A host name, or wildcard, that one owner alone may use."""

    __tablename__ = "domains"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    source: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class SigningKeyRow(Base):
    """Secret bytes that the edge signs with, by what they sign."""

    __tablename__ = "signing_keys"
    purpose: Mapped[str] = mapped_column(String(40), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)
