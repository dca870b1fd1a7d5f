"""The options that every agent command has, and what they come to together with the environment and the files."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from portico.model.errors import AUTHTOKEN_MISSING, OPTION_INVALID, PorticoError
from portico.model.value import Value

if TYPE_CHECKING:
    from portico.agent.edge_address import Trust
    from portico.agent.settings import SessionSettings
    from portico.cli.config.models import AgentKeys, EndpointKeys, Tunnel
    from portico.logs import LogFormat

_NAMES = ("config", "authtoken", "connect_url", "connect_cas", "log", "log_format", "log_level", "tracing_endpoint")
LogLevel = Literal["debug", "info", "warn", "error", "crit"]


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config`, several times where files are to be merged."""
    return click.option(
        "--config", multiple=True, metavar="FILE", help="Configuration file; of several the later one wins."
    )(function)


def edge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to find the edge and who is asking."""
    for decorator in (
        click.option(
            "--connect-cas", metavar="FILE", help="PEM file of who may sign the edge's certificate, or `host`."
        ),
        click.option("--connect-url", metavar="HOST:PORT", help="Address of the edge."),
        click.option("--authtoken", metavar="TOKEN", help="Lets this agent connect to the edge."),
        config_option,
    ):
        function = decorator(function)
    return function


def agent_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`edge_options` and where to log."""
    for decorator in (
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warn", "error", "crit"]), help="Least to log."
        ),
        click.option("--log-format", type=click.Choice(["term", "logfmt", "json"]), help="How log lines look."),
        click.option("--log", metavar="FILE", help="Where to log: stdout, stderr, false or a file."),
        click.option("--tracing-endpoint", metavar="URL", help="OpenTelemetry collector, http(s)://HOST:4318, or off."),
        edge_options,
    ):
        function = decorator(function)
    return function


class Setup(Value, frozen=True):
    """What the files say, with the flags and the environment laid over it."""

    agent: "AgentKeys"
    entries: "dict[str, Tunnel | EndpointKeys]"
    """Endpoints that can be started by name."""

    @classmethod
    def take(cls, parameters: dict[str, Any], environment: Mapping[str, str] = os.environ) -> "Setup":
        """Join the agent's options, taken out of `parameters`, with environment and files. Raises PorticoError."""
        given = {name: parameters.pop(name, None) for name in _NAMES}
        agent, entries = _read(config_files(cast("tuple[str, ...]", given.pop("config") or ())))
        from_environment = {
            "authtoken": environment.get("PORTICO_AUTHTOKEN") or environment.get("NGROK_AUTHTOKEN"),
            "connect_url": environment.get("PORTICO_CONNECT_URL"),
            "connect_cas": environment.get("PORTICO_CONNECT_CAS"),
        }
        chosen = {name: value for name in given if (value := given[name] or from_environment.get(name))}
        return cls(_with(agent, chosen), entries)

    def trust(self) -> "Trust":
        """Begins to read whom the agent trusts to be its edge."""
        from portico.agent.edge_address import Trust

        return Trust(self.agent.connect_cas or "")

    def session(self) -> "SessionSettings":
        """What the agent connects with. Raises PorticoError(AUTHTOKEN_MISSING | OPTION_INVALID)."""
        from portico.agent.edge_address import EdgeAddress
        from portico.agent.settings import SessionSettings
        from portico.agent.tracing import collector_url

        if self.agent.authtoken is None:
            raise PorticoError(AUTHTOKEN_MISSING, "no authtoken was given")
        _refuse_unserved(self.agent)
        return SessionSettings(
            edge=EdgeAddress.parse(self.agent.connect_url or default_connect_url()),
            authtoken=self.agent.authtoken.reveal(),
            connect_cas=self.agent.connect_cas or "",
            metadata=self.agent.metadata,
            proxy_url=self.agent.proxy_url or "",
            heartbeat_interval=self.agent.heartbeat_interval,
            heartbeat_tolerance=self.agent.heartbeat_tolerance,
            connect_timeout=self.agent.connect_timeout,
            tracing_endpoint=collector_url(self.agent.tracing_endpoint),
            program="portico-agent",
        )

    @property
    def log_format(self) -> "LogFormat":
        """How log lines look."""
        return self.agent.log_format


def config_files(named: tuple[str, ...]) -> list[Path]:
    """The files to read: those named, or the default one where it exists."""
    from portico.cli.config.paths import default_path

    if named:
        return [Path(name).expanduser() for name in named]
    path = default_path()
    return [path] if path.exists() else []


def default_connect_url() -> str:
    """The edge of this machine, on the port that it takes when nobody says: 443 for root, 8443 for everybody else."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return "localhost:443" if is_root else "localhost:8443"


def _read(files: list[Path]) -> "tuple[AgentKeys | None, dict[str, Tunnel | EndpointKeys]]":
    """Without a file nothing of the document's machinery is needed, and the agent starts sooner."""
    if not files:
        return None, {}
    from portico.cli.config.document import load
    from portico.cli.config.endpoints import named_entries

    document = load(files)
    return document.agent, named_entries(document)


def _with(agent: "AgentKeys | None", chosen: dict[str, Any]) -> "AgentKeys":
    from portico.cli.config.models import AgentKeys

    return (agent or AgentKeys()).over(chosen)


def _refuse_unserved(agent: "AgentKeys") -> None:
    """Keys that this agent cannot honour and that would do harm if they were passed over in silence."""
    for name in ("connect_interface", "dns_resolver_ips"):
        if getattr(agent, name):
            raise PorticoError(
                OPTION_INVALID, f"agent.{name} is not offered by this agent", fix="Take the key out of the file."
            )
