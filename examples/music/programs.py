"""Tokens for programs, and the keys by which the edge knows them: what a company's own token service would do.

python programs.py KEY NAME [write]     prints a token that is good for a day
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

DAY = 86_400


def key_of(path: Path) -> ECKey:
    """The key in this file, which is made if it is not there."""
    if not path.exists():
        made = ECKey.generate_key("P-256", {"kid": "music"}, private=True)
        path.touch(0o600)
        path.write_text(json.dumps(made.as_dict(private=True)))
    return ECKey.import_key(json.loads(path.read_text()))


def token(key: ECKey, name: str, *scopes: str) -> str:
    """For the program of this name."""
    now = int(time.time())
    claims = {"iss": "music", "aud": "music", "sub": name, "iat": now, "exp": now + DAY, "scopes": list(scopes)}
    return jwt.encode({"alg": "ES256", "kid": "music"}, claims, key)


@contextlib.contextmanager
def published_keys(key: ECKey) -> Iterator[str]:
    """Serve the public half; yields its URL."""
    body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Everybody may see it."""
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/keys.json"
        server.shutdown()


if __name__ == "__main__":
    print(token(key_of(Path(sys.argv[1])), *sys.argv[2:]))
