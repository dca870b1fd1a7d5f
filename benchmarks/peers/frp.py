"""frp: TLS and one multiplexed connection (tcpMux), as it ships; and its own HTTP proxies, beside ours."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import Named
from benchmarks.peers.tunnel import (
    DOMAIN,
    Command,
    Contender,
    Forward,
    Program,
    Server,
    Setting,
    Target,
    peer_server,
    ports,
    tcp_target,
)

_TOKEN = "benchmark"


@dataclass(frozen=True)
class Frp(Contender):
    """`tcp` proxies, or with `http` frps's own virtual hosts: `http`, and `https`, which it passes through by SNI."""

    http: bool = False
    needs = "frp"

    @property
    def named(self) -> Named:
        if self.http:
            what = "frpc and frps, proxies of type `http` (frps reads and forwards requests) and, for TLS, `https`"
            return Named("frp http", "peer", f"{what} (by SNI, passed through); else as above.")
        what = (
            "frpc and frps, proxies of type `tcp`, TLS between the two (its default; certificate checked) and tcpMux on"
        )
        return Named("frp", "peer", f"{what} (its default); no compression, no connection pool (its default).")

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """frps."""
        bind, http, https = ports(3)
        address = setting.place.server_address
        config = setting.directory / "frps.toml"
        config.write_text(server_config(address, bind, (http, https) if self.http else None, setting.key_pair))
        command = Command((str(setting.programs["frps"]), "-c", str(config)))

        def agents(some: Sequence[Forward]) -> list[Command]:
            written = setting.directory / f"frpc-{some[0].public}.toml"
            host, port = setting.place.dial(bind, address)
            written.write_text(agent_config(host, port, setting.authority, some, http=self.http))
            return [Command((str(setting.programs["frpc"]), "-c", str(written)))]

        def vhost(forward: Forward) -> Target:
            secure = forward.name == "secure"
            return Target("https" if secure else "http", f"{forward.name}.{DOMAIN}", https if secure else http)

        with peer_server(command, setting, (address, bind)) as process:
            yield Program(process.pid, agents, vhost if self.http else tcp_target)


def server_config(address: str, port: int, vhosts: tuple[int, int] | None, key_pair: tuple[Path, Path]) -> str:
    """frps.toml; `vhosts`: ports of HTTP and of TLS."""
    lines = [
        f'bindAddr = "{address}"',
        f"bindPort = {port}",
        'proxyBindAddr = "127.0.0.1"',
        'auth.method = "token"',
        f'auth.token = "{_TOKEN}"',
        f'transport.tls.certFile = "{key_pair[0]}"',
        f'transport.tls.keyFile = "{key_pair[1]}"',
        'log.level = "warn"',
    ]
    if vhosts:
        lines += [f"vhostHTTPPort = {vhosts[0]}", f"vhostHTTPSPort = {vhosts[1]}"]
    return "\n".join(lines) + "\n"


def agent_config(host: str, port: int, authority: Path, forwards: Sequence[Forward], *, http: bool) -> str:
    """frpc.toml."""
    lines = [
        f'serverAddr = "{host}"',
        f"serverPort = {port}",
        'auth.method = "token"',
        f'auth.token = "{_TOKEN}"',
        "transport.tls.enable = true",
        f'transport.tls.serverName = "{DOMAIN}"',
        f'transport.tls.trustedCaFile = "{authority}"',
        'log.level = "warn"',
    ]
    for forward in forwards:
        kind = "tcp" if not http else "https" if forward.name == "secure" else "http"
        where = f"remotePort = {forward.public}" if kind == "tcp" else f'customDomains = ["{forward.name}.{DOMAIN}"]'
        lines += [
            "[[proxies]]",
            f'name = "{forward.name}"',
            f'type = "{kind}"',
            'localIP = "127.0.0.1"',
            f"localPort = {forward.local}",
            where,
        ]
    return "\n".join(lines) + "\n"
