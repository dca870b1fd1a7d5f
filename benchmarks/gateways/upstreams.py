"""What all gateways stand before: nginx for small answers and bodies of 100 KB, our own service for bulk."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service import own_service
from kit import nginx
from kit.polling import eventually
from kit.ports import free_port

BODY = 100_000


@dataclass(frozen=True)
class Upstreams:
    """Ports of 127.0.0.1."""

    pages: int
    bulk: int


@contextlib.contextmanager
def upstreams(directory: Path) -> Iterator[Upstreams]:
    """Start both."""
    binary = nginx.program()
    if binary is None:
        raise RuntimeError("nginx is missing; tests/kit/install-parts installs it")
    port = free_port()
    (directory / "body").write_bytes(bytes(BODY))
    config = directory / "nginx.conf"
    config.write_text(_config(directory, port))
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [binary, "-p", str(directory), "-c", str(config), "-e", str(directory / "nginx.log")]
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        eventually(lambda: (directory / "nginx.pid").read_text().strip())
        yield Upstreams(port, stack.enter_context(own_service()).port)


def _config(directory: Path, port: int) -> str:
    """One worker, no log; connections are kept for ever."""
    paths = [f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    return (
        f"daemon off; master_process off; pid {directory}/nginx.pid; events {{ worker_connections 8192; }}\n"
        f"http {{ access_log off; default_type text/plain; sendfile on; {' '.join(paths)}\n"
        f"open_file_cache max=10; keepalive_requests 1000000000; keepalive_timeout 600;\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; root {directory};\n"
        'location = / { return 200 "Hello, world!\\n"; } } }\n'
    )
