"""`portico edge`: reads the settings and hands them to the supervisor."""

import importlib.util
from typing import Final

import click

from portico.model.errors import EDGE_EXTRA_MISSING, PorticoError

_EXTRA: Final = ("alembic", "asyncssh", "envoy", "fastapi", "grpc", "maxminddb", "prometheus_client", "sqlalchemy")
"""The packages of `portico[edge]` by their import names; control imports most of them long after the start."""


def _installed_edge() -> click.Command:
    """The command with one flag a setting. Raises PorticoError(EDGE_EXTRA_MISSING)."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise PorticoError(EDGE_EXTRA_MISSING, f"the edge needs {', '.join(missing)}, not installed here")
    from portico.edge.settings_sources import load_settings, settings_options
    from portico.edge.supervisor import run

    @click.command("edge", no_args_is_help=False)
    @settings_options()
    def edge(**flags: str | None) -> int:
        """Run an edge: the public side that agents dial and visitors meet.

        Every flag is also a key of the --config file and a variable PORTICO_EDGE_<NAME>.
        """
        return run(load_settings(flags), lambda: load_settings(flags))

    return edge


edge = _installed_edge()
