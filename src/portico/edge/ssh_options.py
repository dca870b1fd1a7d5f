"""The SSH door: what one `-R` with its remote command asks for, as a `BindRequest`."""

from typing import Final
from urllib.parse import urlsplit

import msgspec

from portico.edge.agent_options import bind_request
from portico.edge.bind_request import BindRequest
from portico.edge.naming import Naming
from portico.model.endpoint import Scheme
from portico.model.errors import BIND_INVALID, NOT_OVER_SSH, PorticoError
from portico.relay.link import SshForward
from portico.ssh.command import Command
from portico.tunnel.messages import Bind

NO_NAME: Final = ("", "*", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104
"""What clients send as the name of a `-R` that has none."""
HTTPS_PORTS: Final = (0, 443)
HTTP_PORT: Final = 80


def ssh_request(forward: SshForward, naming: Naming) -> BindRequest:
    """What `forward` asks for. Raises PorticoError, naming the part of `-R`, the flag, or the option."""
    try:
        command = msgspec.convert(forward.body, Command)
    except msgspec.ValidationError as error:
        raise PorticoError(BIND_INVALID, str(error)) from None
    scheme = _scheme(forward.port, command, naming)
    host, port = _place(scheme, forward, command)
    asked = _of_visitors(scheme, command)
    return BindRequest(
        scheme=scheme,
        host=host,
        port=port,
        upstream_http=command.upstream_http,
        proxy_protocol=command.proxy_protocol,
        websocket_bytes=asked.websocket_bytes,
        host_header=command.host_header or asked.host_header,
        tls=asked.tls,
        networks=asked.networks,
        traffic_policy=asked.traffic_policy,
        pooling=command.pooling,
        name=command.name,
        description=command.description,
        metadata=command.metadata,
        forwards_to=f"ssh -R {forward.host}:{forward.port}",
    )


def _of_visitors(scheme: Scheme, command: Command) -> BindRequest:
    """What is asked of visitors, read as an agent's bind is."""
    version = "http2" if command.upstream_http == 2 else ""
    asked = bind_request(Bind(proto=str(scheme), opts=command.options, forwards_proto=version))
    if scheme is Scheme.TLS and asked.tls is not None:
        raise PorticoError(NOT_OVER_SSH, "SSH does not support termination at the edge", fix=_NO_END)
    return asked


_NO_END: Final = "Use `http` here (the edge ends TLS), or the agent: `portico tls … --terminate-at edge`."


def _scheme(port: int, command: Command, naming: Naming) -> Scheme:
    written = command.url.partition("://")[0] if "://" in command.url else ""
    allowed = {"http": ("http", "https"), "tls": ("tls",), "tcp": ("tcp",), "": ()}[command.protocol]
    if written and written not in allowed:
        raise PorticoError(BIND_INVALID, f"--url {command.url!r} is no {command.protocol} URL")
    secure, plain = port in (*HTTPS_PORTS, naming.https_port), port in (HTTP_PORT, naming.http_port)
    match command.protocol:
        case "tcp":
            return Scheme.TCP
        case "tls":
            if not secure:
                raise PorticoError(BIND_INVALID, f"tls endpoints are at port 443, not {port}", fix=_PORTS)
            return Scheme.TLS
        case "http":
            if not secure and not plain:
                raise PorticoError(BIND_INVALID, f"http endpoints are at ports 443 and 80, not {port}", fix=_PORTS)
            return Scheme(written or command.scheme or ("http" if plain else "https"))
    if secure:
        return Scheme.HTTPS
    return Scheme.HTTP if plain else Scheme.TCP


_PORTS: Final = "Give that port in -R, or 0 to leave it to the edge: `-R 0:localhost:8080`."


def _place(scheme: Scheme, forward: SshForward, command: Command) -> tuple[str | None, int | None]:
    """The asked-for host and port; None for what the edge is to choose."""
    name = "" if forward.host in NO_NAME else forward.host
    wanted = [_host_and_port(text) for text in (command.url.rpartition("://")[2], command.host) if text]
    hosts = {host.lower() for host in (name, *(host for host, _ in wanted)) if host}
    if len(hosts) > 1:
        raise PorticoError(BIND_INVALID, f"two names for one endpoint: {' and '.join(sorted(hosts))}")
    host = next(iter(hosts), None)
    if scheme is not Scheme.TCP:
        return host, None
    ports = {port for port in (forward.port, *(port for _, port in wanted)) if port}
    if len(ports) > 1:
        raise PorticoError(BIND_INVALID, f"two ports for one endpoint: {' and '.join(map(str, sorted(ports)))}")
    return host, next(iter(ports), None)


def _host_and_port(written: str) -> tuple[str, int]:
    """`host`, `host:port`, `:port`."""
    parts = urlsplit(f"//{written}")
    try:
        return parts.hostname or "", parts.port or 0
    except ValueError:
        raise PorticoError(BIND_INVALID, f"{written!r} has no valid port") from None
