"""What roles may do: the one place where a user's role is looked at."""

from typing import Final

from portico.api.resource import Caller
from portico.model.errors import API_FORBIDDEN, PorticoError
from portico.model.owner import Role

_READS: Final = ("GET", "HEAD", "OPTIONS")
_ADMINS_ONLY: Final = ("users",)
"""Resources that only admins, and keys of an owner himself, change."""


def check_role(caller: Caller, method: str, path: str) -> None:
    """Whether the caller's role permits this; what he sees is `Caller.scope`. Raises PorticoError(API_FORBIDDEN)."""
    if method in _READS or caller.role is Role.ADMIN:
        return
    if caller.role is Role.VIEWER:
        raise PorticoError(API_FORBIDDEN, "your role is viewer, which changes nothing", fix="Ask an admin.")
    if path.strip("/").partition("/")[0] in _ADMINS_ONLY:
        raise PorticoError(API_FORBIDDEN, "your role is member; users are changed by admins", fix="Ask an admin.")
