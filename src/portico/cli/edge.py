"""`portico edge`: reads the settings and hands them to the supervisor."""

import click

from portico.model.errors import EDGE_EXTRA_MISSING, PorticoError


def _installed_edge() -> click.Command:
    """The command with one flag a setting. Raises PorticoError(EDGE_EXTRA_MISSING)."""
    try:
        from portico.edge.settings_sources import load_settings, settings_options
        from portico.edge.supervisor import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "portico":
            raise
        raise PorticoError(EDGE_EXTRA_MISSING, f"the edge needs {error.name}, which is not installed") from None

    @click.command("edge", no_args_is_help=False)
    @settings_options()
    def edge(**flags: str | None) -> int:
        """Run an edge: the public side that agents dial and visitors meet.

        Every flag is also a key of the --config file and a variable PORTICO_EDGE_<NAME>.
        """
        return run(load_settings(flags))

    return edge


edge = _installed_edge()
