"""Portico: the front door that people own."""

from typing import TYPE_CHECKING

from portico.version import __version__

if TYPE_CHECKING:
    from portico.model.errors import PorticoError
    from portico.sdk.api import (
        connect,
        disconnect,
        forward,
        get_listeners,
        kill,
        listen,
        log_level,
        set_auth_token,
    )
    from portico.sdk.listener import Listener

_HOMES = {
    "Listener": "portico.sdk.listener",
    "PorticoError": "portico.model.errors",
    "connect": "portico.sdk.api",
    "disconnect": "portico.sdk.api",
    "forward": "portico.sdk.api",
    "get_listeners": "portico.sdk.api",
    "kill": "portico.sdk.api",
    "listen": "portico.sdk.api",
    "log_level": "portico.sdk.api",
    "set_auth_token": "portico.sdk.api",
}
"""Where each public name lives; it is imported when it is first used, so that `import portico` stays light."""

__all__ = [
    "Listener",
    "PorticoError",
    "__version__",
    "connect",
    "disconnect",
    "forward",
    "get_listeners",
    "kill",
    "listen",
    "log_level",
    "set_auth_token",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'portico' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
