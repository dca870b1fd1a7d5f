"""The tables. Nothing here is SQLite's alone: a node of its own uses SQLite, several nodes share PostgreSQL."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

FIRST_START: Final = "first-start"
"""Source of what the first start made."""
SETTINGS: Final = "settings"
"""Source of what the settings file declares, and takes back when it no longer does."""
API: Final = "api"
"""Source of what was made through the REST API."""


class UtcTime(TypeDecorator[datetime]):
    """A moment: UTC, and aware in Python. SQLite keeps no time zone, and PostgreSQL has one for each connection."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


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


class Record:
    """What all that owners have in common: ids sort by time of creation, and people may say what a thing is for."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("owners.id", ondelete="CASCADE"), index=True)
    description: Mapped[str] = mapped_column(String(255), server_default=text("''"))
    # Every declarative class has an attribute `metadata` already.
    note: Mapped[str] = mapped_column("metadata", Text, server_default=text("''"))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)
    user_id: Mapped[str | None] = mapped_column(String(40))
    """The user who made it, or whose it is; None where it was the owner himself. It may outlive him."""


class UserRow(Record, Base):
    """Somebody who acts for an owner."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("owner_id", "email"),)
    name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(10))


class _Credential(Record):
    """A token, kept as the SHA-256 of its text; `prefix` is what lists show of it."""

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    prefix: Mapped[str] = mapped_column(String(8))
    source: Mapped[str] = mapped_column(String(20))


class AuthtokenRow(_Credential, Base):
    """Lets an agent connect, and bind what its ACL permits."""

    __tablename__ = "authtokens"
    acl: Mapped[list[Any]] = mapped_column(JSON, server_default=text("'[]'"))


class ApiKeyRow(_Credential, Base):
    """Lets a program call the API."""

    __tablename__ = "api_keys"


class SshCredentialRow(Record, Base):
    """A public key that may open SSH sessions, and bind what its ACL permits."""

    __tablename__ = "ssh_credentials"
    public_key: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(60), unique=True)
    acl: Mapped[list[Any]] = mapped_column(JSON, server_default=text("'[]'"))


class TlsCertificateRow(Record, Base):
    """A certificate chain with its key, which an owner uploaded."""

    __tablename__ = "tls_certificates"
    certificate_pem: Mapped[str] = mapped_column(Text)
    private_key_pem: Mapped[str] = mapped_column(Text)


class CertificateAuthorityRow(Record, Base):
    """CA certificates for checking visitors' certificates."""

    __tablename__ = "certificate_authorities"
    ca_pem: Mapped[str] = mapped_column(Text)


class DomainRow(Record, Base):
    """A host name, or wildcard, that one owner alone may use."""

    __tablename__ = "domains"
    name: Mapped[str] = mapped_column(String(255), unique=True)
    source: Mapped[str] = mapped_column(String(20))
    certificate_id: Mapped[str | None] = mapped_column(ForeignKey("tls_certificates.id"))


class ReservedAddrRow(Record, Base):
    """A TCP port that one owner alone may use."""

    __tablename__ = "reserved_addrs"
    port: Mapped[int] = mapped_column(Integer, unique=True)


class CloudEndpointRow(Record, Base):
    """A URL that a traffic policy answers, whether an agent is there or not."""

    __tablename__ = "cloud_endpoints"
    url: Mapped[str] = mapped_column(String(300))
    traffic_policy: Mapped[str] = mapped_column(Text)
    pooling: Mapped[bool] = mapped_column(Boolean)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class IpPolicyRow(Record, Base):
    """A named set of rules about visitors' addresses."""

    __tablename__ = "ip_policies"


class IpPolicyRuleRow(Record, Base):
    """One network of an IP policy, and whether it is let in."""

    __tablename__ = "ip_policy_rules"
    ip_policy_id: Mapped[str] = mapped_column(ForeignKey("ip_policies.id", ondelete="CASCADE"), index=True)
    cidr: Mapped[str] = mapped_column(String(50))
    action: Mapped[str] = mapped_column(String(10))


class VaultRow(Record, Base):
    """A place for secrets."""

    __tablename__ = "vaults"
    __table_args__ = (UniqueConstraint("owner_id", "name"),)
    name: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class SecretRow(Record, Base):
    """A secret of a vault, sealed with the key that is beside the database."""

    __tablename__ = "secrets"
    __table_args__ = (UniqueConstraint("vault_id", "name"),)
    vault_id: Mapped[str] = mapped_column(ForeignKey("vaults.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class AuditEventRow(Base):
    """One change: who, what, when. Refers to nothing, so that it outlives what it tells of."""

    __tablename__ = "audit_events"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)
    owner_id: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[str | None] = mapped_column(String(40))
    api_key_id: Mapped[str] = mapped_column(String(40))
    operation_id: Mapped[str] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(20))
    resource: Mapped[str] = mapped_column(String(40))
    resource_id: Mapped[str] = mapped_column(String(80))
    fields: Mapped[list[Any]] = mapped_column(JSON)


class IdempotencyRow(Base):
    """The answer to a create, for the caller who asks again under the same key; sealed, for it may hold a token."""

    __tablename__ = "idempotency_keys"
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now, index=True)


class SigningKeyRow(Base):
    """Secret bytes that the edge signs with, by what they sign."""

    __tablename__ = "signing_keys"
    purpose: Mapped[str] = mapped_column(String(40), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class AcmeAccountRow(Base):
    """The edge's account at one ACME authority. Its key is as secret as those of certificates."""

    __tablename__ = "acme_accounts"
    directory: Mapped[str] = mapped_column(String(255), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(255))
    uri: Mapped[str] = mapped_column(String(500))
    private_key_pem: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class AcmeCertificateRow(Base):
    """An automatic certificate, how its orders do, and which node orders it just now."""

    __tablename__ = "acme_certificates"
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    names: Mapped[list[Any]] = mapped_column(JSON)
    certificate_pem: Mapped[str | None] = mapped_column(Text)
    private_key_pem: Mapped[str | None] = mapped_column(Text)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)
    not_after: Mapped[datetime | None] = mapped_column(UtcTime)
    directory: Mapped[str] = mapped_column(String(255))
    renew_at: Mapped[datetime | None] = mapped_column(UtcTime)
    failures: Mapped[int] = mapped_column(Integer)
    last_error: Mapped[str] = mapped_column(String(500))
    next_attempt: Mapped[datetime | None] = mapped_column(UtcTime)
    lease_holder: Mapped[str | None] = mapped_column(String(40))
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)


class AcmeChallengeRow(Base):
    """A challenge that is under way, so that any node can answer it."""

    __tablename__ = "acme_challenges"
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    token: Mapped[str] = mapped_column(String(255), primary_key=True)
    answer: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class RateWindowRow(Base):
    """One key's window of a rate limit that nodes count together. Only `counters.py` reads and writes it."""

    __tablename__ = "rate_windows"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)
    limit_id: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    key_digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    ends_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    used: Mapped[int] = mapped_column(Integer)
    granted: Mapped[int] = mapped_column(Integer)
    """To the one who asked last."""
