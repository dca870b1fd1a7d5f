"""A real edge whose certificates come from a real authority (Pebble), on ports that the authority looks at."""

import contextlib
import json
import re
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

import portico
from kit.edge import RunningEdge, running_edge
from kit.pebble import Names, Pebble, running_names, running_pebble
from kit.polling import eventually
from kit.ports import free_port
from kit.visitor import Visitor
from kit.whole_lines import records

DOMAIN = "edge.test"


@dataclass(frozen=True)
class Place:
    """Where an edge listens, known before it starts."""

    https: int
    http: int

    @classmethod
    def free(cls) -> "Place":
        return cls(free_port(), free_port())


@dataclass
class AcmeEdge:
    """An edge and what visitors see of it."""

    edge: RunningEdge
    place: Place

    def forward(self, addr: str | int, **options: Any) -> portico.Listener:
        """An agent's endpoint; the agent trusts the edge's own authority, which vouches for localhost."""
        where: dict[str, Any] = {
            "authtoken": self.edge.authtoken,
            "connect_url": self.edge.connect_url,
            "connect_cas": str(self.edge.ca),
        }
        return portico.forward(addr, **where, **options)

    def certificate(self, host: str, *, alpn: str | None = None) -> x509.Certificate:
        """The certificate that a visitor is shown, trusted or not."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        with (
            socket.create_connection(("127.0.0.1", self.place.https), 20) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
            assert der
            return x509.load_der_x509_certificate(der)

    def is_public(self, host: str) -> bool:
        """Whether the authority's certificate is shown for `host`."""
        return "Pebble" in self.certificate(host).issuer.rfc4514_string()

    def until_public(self, *hosts: str) -> None:
        """Wait until all of them have certificates of the authority."""
        for host in hosts:
            eventually(lambda host=host: self.is_public(host))  # type: ignore[misc]

    def metric(self, name: str) -> dict[str, float]:
        """A metric by its labels."""
        with urllib.request.urlopen(self.edge.admin + "/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return {labels: float(value) for labels, value in re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.M)}

    def told(self, event: str) -> list[dict[str, Any]]:
        """The log's records of an event."""
        return [record for record in records(self.edge.log) if record.get("event") == event]


def trusting(directory: Path, pebble: Pebble) -> Visitor:
    """A visitor who trusts the authority and nobody else."""
    root = directory / "root.pem"
    root.write_text(pebble.trust())
    return Visitor(root)


@contextlib.contextmanager
def acme_edge(directory: Path, place: Place, *authorities: dict[str, Any], **settings: Any) -> Iterator[AcmeEdge]:
    """Start an edge with these entries of `acme_directories`; `settings` are further keys of its file."""
    file = directory / "edge.yml"
    wanted = {"acme": "on", "domain": DOMAIN, "acme_directories": list(authorities), "acme_retry_seconds": 0.5}
    file.write_text(json.dumps({**wanted, **settings}))  # JSON is YAML
    addresses = ("--https-addr", f"127.0.0.1:{place.https}", "--http-addr", f"127.0.0.1:{place.http}")
    with running_edge(directory, "--config", str(file), *addresses) as edge:
        try:
            yield AcmeEdge(edge, place)
        finally:
            portico.kill()


@contextlib.contextmanager
def edge_with_authority(directory: Path, kind: str, **settings: Any) -> Iterator[tuple[AcmeEdge, Pebble, Names]]:
    """An edge, its authority and the DNS between them; `kind` is the one challenge that it may use."""
    place = Place.free()
    with (
        running_names() as names,
        running_pebble(directory / "pebble", names, http_port=place.http, tls_port=place.https) as pebble,
    ):
        if kind == "dns-01":
            settings["acme_dns"] = [{"command": str(names.command(directory))}]
        with acme_edge(directory, place, pebble.settings, acme_challenges=kind, **settings) as edge:
            yield edge, pebble, names
