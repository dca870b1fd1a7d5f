"""rathole: TLS, a connection for each visitor and none multiplexed, as it ships."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12

from benchmarks.comparison import Named
from benchmarks.peers.tunnel import (
    DOMAIN,
    Command,
    Contender,
    Forward,
    Program,
    Server,
    Setting,
    peer_server,
    ports,
    tcp_target,
)

_TOKEN = "benchmark"


class Rathole(Contender):
    """Its `tls` transport."""

    needs = "rathole"

    @property
    def named(self) -> Named:
        what = "`rathole` client and server, transport `tls`; a TLS connection of its own for each visitor"
        return Named("rathole", "peer", f"{what}, drawn from a pool that the client keeps (its default).")

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """The server, which must know every service."""
        (bind,) = ports(1)
        address, program = setting.place.server_address, str(setting.programs["rathole"])
        identity = setting.directory / "identity.pfx"
        identity.write_bytes(_pkcs12(setting.key_pair))
        config = setting.directory / "server.toml"
        config.write_text(server_config(address, bind, identity, forwards))

        def agents(some: Sequence[Forward]) -> list[Command]:
            written = setting.directory / f"client-{some[0].public}.toml"
            written.write_text(agent_config(*setting.place.dial(bind, address), setting.authority, some))
            return [Command((program, "--client", str(written)))]

        with peer_server(Command((program, "--server", str(config))), setting, (address, bind)) as process:
            yield Program(process.pid, agents, tcp_target)


def _pkcs12(key_pair: tuple[Path, Path]) -> bytes:
    certificate = x509.load_pem_x509_certificate(key_pair[0].read_bytes())
    key = load_pem_private_key(key_pair[1].read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    protected = BestAvailableEncryption(_TOKEN.encode())
    return pkcs12.serialize_key_and_certificates(b"server", key, certificate, None, protected)


def server_config(address: str, port: int, identity: Path, forwards: Sequence[Forward]) -> str:
    """The server's file."""
    lines = [
        "[server]",
        f'bind_addr = "{address}:{port}"',
        f'default_token = "{_TOKEN}"',
        "[server.transport]",
        'type = "tls"',
        "[server.transport.tls]",
        f'pkcs12 = "{identity}"',
        f'pkcs12_password = "{_TOKEN}"',
    ]
    for forward in forwards:
        lines += [f"[server.services.{forward.name}]", f'bind_addr = "127.0.0.1:{forward.public}"']
    return "\n".join(lines) + "\n"


def agent_config(host: str, port: int, authority: Path, forwards: Sequence[Forward]) -> str:
    """The client's file."""
    lines = [
        "[client]",
        f'remote_addr = "{host}:{port}"',
        f'default_token = "{_TOKEN}"',
        "[client.transport]",
        'type = "tls"',
        "[client.transport.tls]",
        f'trusted_root = "{authority}"',
        f'hostname = "{DOMAIN}"',
    ]
    for forward in forwards:
        lines += [f"[client.services.{forward.name}]", f'local_addr = "127.0.0.1:{forward.local}"']
    return "\n".join(lines) + "\n"
