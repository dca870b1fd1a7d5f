"""What the three services share: HTTP on a free port of the loopback, which is printed. None of them asks who comes."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What a service is asked."""

    method: str
    path: str
    query: dict[str, str]
    who: str
    """The person or the program, as the edge says: nobody else can."""
    body: bytes


Answer = Callable[[Request], Any]
"""Gives text (HTML) or a value (JSON); None is 404."""


def serve(answer: Answer) -> None:
    """Serve until the process ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer leaves as a whole, so one that is cut off has not begun

        def do_GET(self) -> None:
            """Reading."""
            url = urlsplit(self.path)
            who = self.headers["music-person"] or self.headers["music-program"] or "nobody"
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            made = answer(Request(self.command, url.path, dict(parse_qsl(url.query)), who, body))
            kind = "text/html; charset=utf-8" if isinstance(made, str) else "application/json"
            data = made.encode() if isinstance(made, str) else json.dumps(made).encode() + b"\n"
            self.send_response(404 if made is None else 200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            """Writing."""
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing: the edge has the access log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


def machine() -> str:
    """Where this service runs, from its command line."""
    return sys.argv[1] if len(sys.argv) > 1 else "somewhere"
