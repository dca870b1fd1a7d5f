"""What lies behind the tunnels: nginx for small answers, plain and in TLS, and our own service for bulk."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.place import Place
from benchmarks.service import own_service
from kit import nginx
from kit.polling import eventually


@dataclass(frozen=True)
class Services:
    """Ports where the agent is."""

    small: int
    secure: int
    bulk: int


@contextlib.contextmanager
def services(directory: Path, place: Place, key_pair: tuple[Path, Path], ports: Sequence[int]) -> Iterator[Services]:
    """Start them on the agent's loopback, and where visitors with no tunnel find them; `ports`: two free ones."""
    binary = nginx.program()
    if binary is None:
        raise RuntimeError("nginx is missing; tests/kit/install-parts installs it")
    addresses = list(dict.fromkeys(("127.0.0.1", place.service_address)))
    config = directory / "nginx.conf"
    config.write_text(nginx_config(directory, addresses, key_pair, *ports))
    with place.at_agent(), contextlib.ExitStack() as stack:
        command = [binary, "-p", str(directory), "-c", str(config), "-e", str(directory / "nginx.log")]
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command])
        stack.callback(process.wait)
        stack.callback(process.kill)
        eventually(lambda: process.poll() is not None or (directory / "nginx.pid").read_text().strip())
        bulk = stack.enter_context(own_service(addresses=addresses))
        yield Services(ports[0], ports[1], bulk.port)


def nginx_config(
    directory: Path, addresses: Sequence[str], key_pair: tuple[Path, Path], plain: int, secure: int
) -> str:
    """One worker, no log, as little work as there can be."""
    paths = [f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    listen = [
        f"listen {address}:{plain} backlog=4096; listen {address}:{secure} ssl backlog=4096;" for address in addresses
    ]
    tls = f"ssl_certificate {key_pair[0]}; ssl_certificate_key {key_pair[1]}; ssl_protocols TLSv1.2 TLSv1.3;"
    answer = 'location / { return 200 "Hello, world!\\n"; } keepalive_requests 1000000000; keepalive_timeout 600;'
    return (
        f"daemon off; master_process off; pid {directory}/nginx.pid; events {{ worker_connections 8192; }}\n"
        f"http {{ access_log off; default_type text/plain; {' '.join(paths)}\n"
        f"server {{ {' '.join(listen)} {tls} {answer} }} }}\n"
    )
