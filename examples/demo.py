"""The main job on one machine: an edge, an agent and a sample service. Prints the public URL and keeps it up.

Run it with `make demo`. It needs no root, no DNS and no free well-known port; everything it writes is in `.demo/`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import portico

HOME = Path(__file__).resolve().parent.parent / ".demo"


class SampleService(BaseHTTPRequestHandler):
    """The service that gets a public URL: says hello, and who the edge says is asking."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer every path."""
        visitor = self.headers.get("x-forwarded-for", "somebody")
        body = f"Hello {visitor}, this is {self.headers['host']}{self.path}\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the URL."""


@contextlib.contextmanager
def sample_service() -> Iterator[int]:
    """The service on a free port; yields the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SampleService) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def edge() -> Iterator[str]:
    """`portico edge` on free ports; yields `host:port` for agents."""
    command = [sys.executable, "-m", "portico.cli.main", "edge", "--data-dir", str(HOME)]
    for address in ("--https-addr", "--http-addr", "--ssh-addr", "--admin-addr"):
        command += [address, "127.0.0.1:0"]
    command += ["--log-level", "warning", "--drain-seconds", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready.startswith("ready "):
        sys.exit(process.wait() or 1)
    facts = dict(word.split("=", 1) for word in ready.split()[1:])
    try:
        yield "localhost:" + facts["https"].rpartition(":")[2]
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Bring the three up, say where, and wait for Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), sample_service() as port, edge() as connect_url, ExitStack() as ending:
        ca, program = os.path.relpath(HOME / "ca.pem"), os.path.relpath(Path(sys.prefix) / "bin" / "portico")
        token = (HOME / "authtoken").read_text().strip()
        listener = portico.forward(port, authtoken=token, connect_url=connect_url, connect_cas=ca)
        ending.callback(portico.kill)  # else it would miss the edge, and say so
        print(f"\n  {listener.url()}  ->  http://localhost:{port}\n")
        print(f"  try it:   curl --cacert {ca} {listener.url()}")
        print(f"  an agent: PORTICO_AUTHTOKEN=$(cat {HOME.name}/authtoken) \\")
        print(f"            {program} http PORT --connect-url {connect_url} --connect-cas {ca}")
        print("  stop:     Ctrl-C\n", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
