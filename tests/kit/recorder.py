"""An upstream that keeps every byte it gets, and answers requests with their own head."""

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass
class Recorder:
    """What arrived so far."""

    port: int = 0
    connections: int = 0
    received: bytearray = field(default_factory=bytearray)


@contextlib.contextmanager
def recording_upstream() -> Iterator[Recorder]:
    """Serve on 127.0.0.1."""
    recorder = Recorder()

    class Handler(socketserver.StreamRequestHandler):
        wbufsize: ClassVar[int] = -1

        def handle(self) -> None:
            recorder.connections += 1
            with contextlib.suppress(ConnectionError):
                while head := self._head():
                    recorder.received += head
                    self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(head) + head)
                    self.wfile.flush()
                    if b"connection: close" in head.lower():
                        break

        def _head(self) -> bytes:
            lines = b""
            while line := self.rfile.readline():
                lines += line
                if line == b"\r\n":
                    break
            return lines

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        recorder.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()
