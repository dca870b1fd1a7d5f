"""Owners: whose sessions, endpoints and domains they are."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

DEFAULT_OWNER: Final = "default"
"""The owner that the first start makes."""


class Role(StrEnum):
    """What a user may do among his owner's things."""

    ADMIN = "admin"
    """Everything; also users."""
    MEMBER = "member"
    """What he made himself."""
    VIEWER = "viewer"
    """Look at everything, change nothing."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose things somebody sees: None means everybody's."""

    owner_id: str | None = None
    user_id: str | None = None


EVERYBODY: Final = Scope()


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody who may hold sessions and endpoints."""

    id: str
    name: str
    max_sessions: int | None
    """Sessions at once; None means the edge's own limit."""
    max_endpoints: int | None
    """Endpoints at once; None means the edge's own limit."""


@dataclass(frozen=True, slots=True)
class DeclaredOwner:
    """An owner as the settings file declares him. The token never appears in `repr`."""

    name: str
    authtoken: str | None = field(repr=False)
    """None for the default owner only, whose token the first start made."""
    domains: tuple[str, ...] = ()
    max_sessions: int | None = None
    max_endpoints: int | None = None
