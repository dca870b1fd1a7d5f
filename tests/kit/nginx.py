"""nginx as an upstream: what it saw of a request, over HTTP/1.1, h2c, TLS with h2, and behind PROXY headers."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.polling import eventually
from kit.ports import free_port, free_ports

SAW = 'return 200 "proto=$server_protocol host=$http_host sni=$ssl_server_name proxy=$proxy_protocol_addr\\n";'


@dataclass(frozen=True)
class Nginx:
    """Ports of 127.0.0.1."""

    plain: int
    h2c: int
    """HTTP/2 without TLS, with prior knowledge only."""
    tls: int
    """TLS that offers h2 and http/1.1."""
    proxied: int
    """HTTP/1.1 after a PROXY header of either version."""
    proxied_tls: int


def program() -> str | None:
    """Path of nginx; it is often outside of users' PATH."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def nginx(directory: Path, certificate: Path, key: Path) -> Iterator[Nginx]:
    """Run nginx with this key pair."""
    ports = Nginx(*free_ports(5))
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    servers = [
        f"server {{ listen 127.0.0.1:{ports.plain}; location / {{ {SAW} }} }}",
        f"server {{ listen 127.0.0.1:{ports.h2c} http2; location / {{ {SAW} }} }}",
        f"server {{ listen 127.0.0.1:{ports.tls} ssl http2; {tls} location / {{ {SAW} }} }}",
        f"server {{ listen 127.0.0.1:{ports.proxied} proxy_protocol; location / {{ {SAW} }} }}",
        f"server {{ listen 127.0.0.1:{ports.proxied_tls} ssl http2 proxy_protocol; {tls} location / {{ {SAW} }} }}",
    ]
    with _running(directory, servers):
        yield ports


@contextlib.contextmanager
def mutual_nginx(directory: Path, certificate: Path, key: Path, authorities: Path) -> Iterator[int]:
    """nginx that wants a client certificate of `authorities`, and says whose it got; yields its port."""
    port = free_port()
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
    mutual = f"ssl_client_certificate {authorities}; ssl_verify_client on;"
    saw = 'return 200 "$ssl_client_s_dn sni=$ssl_server_name $ssl_protocol $server_protocol\\n";'
    with _running(
        directory, [f"server {{ listen 127.0.0.1:{port} ssl http2; {tls} {mutual} location / {{ {saw} }} }}"]
    ):
        yield port


@contextlib.contextmanager
def _running(directory: Path, servers: list[str]) -> Iterator[None]:
    binary = program()
    assert binary is not None
    paths = [f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    http = f"http {{ access_log off; default_type text/plain; {' '.join(paths)} {' '.join(servers)} }}"
    config = directory / "nginx.conf"
    config.write_text(f"daemon off; master_process off; pid {directory}/nginx.pid; events {{}}\n{http}\n")
    process = subprocess.Popen([binary, "-p", str(directory), "-c", str(config), "-e", str(directory / "nginx.log")])
    try:
        eventually(lambda: process.poll() is not None or (directory / "nginx.pid").read_text().strip())
        assert process.poll() is None, (directory / "nginx.log").read_text()
        yield
    finally:
        process.kill()
        process.wait()
