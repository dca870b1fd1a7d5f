"""What the tests of TLS at the edge share: an edge under a domain with a dot, an upstream, and endpoints by the SDK."""

import contextlib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

import portico
from kit.client_certificates import written
from kit.edge import RunningEdge
from kit.openssl import Handshake, s_client
from kit.recorder import Recorder
from kit.whole_lines import records
from portico.model.endpoint import KeyPair

DOMAIN = "edge.test"


@dataclass(frozen=True)
class TlsEdge:
    """An edge, and one upstream for all endpoints."""

    edge: RunningEdge
    upstream: Recorder
    directory: Path

    @property
    def port(self) -> int:
        """Where visitors come in."""
        return self.edge.https_port

    @contextlib.contextmanager
    def serving(self, url: str, **options: Any) -> Iterator[str]:
        """An endpoint of this URL; yields its host. A policy may be given as `terminate_tls`, its fields."""
        scheme, host = urlsplit(url).scheme, str(urlsplit(url).hostname)
        if (config := options.pop("terminate_tls", None)) is not None:
            actions = [{"type": "terminate-tls", "config": config}]
            options["traffic_policy"] = yaml.safe_dump({"on_tcp_connect": [{"actions": actions}]})
        if scheme == "http":
            options["schemes"] = "http"
        proto: Any = "http" if scheme == "https" else scheme
        port = options.pop("port", self.upstream.port)
        listener = portico.forward(port, proto=proto, domain=host, **self._session(), **options)
        try:
            yield host
        finally:
            listener.close()

    def visit(self, host: str, *flags: str, pair: KeyPair | None = None) -> Handshake:
        """A handshake and a request with openssl, with this certificate (and its chain) if any."""
        if pair is not None:
            certificate, key = written(pair, self.directory)
            flags = (*flags, "-cert", str(certificate), "-key", str(key), "-cert_chain", str(certificate))
        return s_client(self.port, host, self.edge.ca, *flags)

    def log(self, event: str) -> list[dict[str, Any]]:
        """The edge's log records of one event."""
        return [record for record in records(self.edge.log) if record["event"] == event]

    def metric(self, name: str) -> float:
        """A figure without labels; 0 where it is not there yet."""
        with urllib.request.urlopen(f"{self.edge.admin}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split(" ")[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{}} ")))

    def _session(self) -> dict[str, Any]:
        edge = self.edge
        return {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}
