"""Row 1.24: automatic certificates from an ACME authority, by each challenge, also for randomly chosen names.

The authority is Pebble, which refuses a fifth of all nonces here, and looks at the edge's real ports.
"""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import portico
from kit.acme_edge import DOMAIN, AcmeEdge, edge_with_authority, trusting
from kit.curl import curl
from kit.key_pairs import KeyPairs
from kit.pebble import BLOCKED, Names, Pebble
from kit.polling import eventually
from kit.rows import row
from kit.service import http_service

Stage = tuple[AcmeEdge, Pebble, Names]


@pytest.fixture(scope="module", params=["http-01", "tls-alpn-01"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with edge_with_authority(tmp_path_factory.mktemp(request.param), request.param) as running:
        yield running


@pytest.fixture(scope="module")
def wild_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Path]]:
    directory = tmp_path_factory.mktemp("dns")
    with edge_with_authority(directory, "dns-01") as running:
        yield running, directory


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@pytest.fixture(autouse=True)
def _no_listener_is_left() -> Iterator[None]:
    yield
    portico.kill()


def host_of(listener: portico.Listener) -> str:
    host = urlsplit(listener.url()).hostname
    assert host
    return host


@row(
    "1.24",
    by_hand="""
    portico edge --domain DOMAIN --acme on --data-dir edge
    portico http 8000
    curl -v URL
    """,
)
def test_row_1_24_random_named_and_custom_names_get_certificates(stage: Stage, service: int, tmp_path: Path) -> None:
    edge, pebble, _ = stage
    visitor = trusting(tmp_path, pebble)
    random = edge.forward(service)
    named = edge.forward(service, domain=f"shop.{DOMAIN}")
    custom = edge.forward(service, domain="www.example.org")
    for listener in (random, named, custom):
        edge.until_public(host_of(listener))
        assert visitor.get(listener.url() + "/x") == (200, "served /x\n")
    assert host_of(random).endswith(f".{DOMAIN}")


def test_the_edges_own_names_have_certificates_and_localhost_keeps_its_own(stage: Stage) -> None:
    edge, _, _ = stage
    edge.until_public(DOMAIN, f"connect.{DOMAIN}", f"api.{DOMAIN}", f"dashboard.{DOMAIN}")
    assert not edge.is_public("localhost")


def test_row_1_24_also_where_tls_ends_at_the_edge_and_bytes_go_on(stage: Stage, service: int, tmp_path: Path) -> None:
    edge, pebble, _ = stage
    listener = edge.forward(service, proto="tls", domain="bytes.example.org", terminate_at="edge")
    edge.until_public("bytes.example.org")
    url = listener.url().replace("tls://", "https://")
    assert trusting(tmp_path, pebble).get(url + "/y") == (200, "served /y\n")


def test_an_independent_visitor_trusts_it(stage: Stage, service: int, tmp_path: Path) -> None:
    edge, pebble, _ = stage
    listener = edge.forward(service, domain="curl.example.org")
    edge.until_public("curl.example.org")
    root = tmp_path / "root.pem"
    root.write_text(pebble.trust())
    assert curl(listener.url() + "/z", root).body == "served /z\n"


def test_nothing_is_ordered_for_names_that_nobody_serves(stage: Stage) -> None:
    edge, pebble, _ = stage
    edge.until_public(DOMAIN)
    before = pebble.orders()
    for number in range(20):
        with pytest.raises((ssl.SSLError, OSError)):
            edge.certificate(f"stranger{number}.example.net")
        edge.certificate(f"stranger{number}.{DOMAIN}")
    assert pebble.orders() == before
    assert not any("stranger" in labels for labels in edge.metric("portico_automatic_certificate_failures"))


def test_a_refused_name_is_served_by_the_own_authority_and_says_why(stage: Stage, service: int) -> None:
    edge, _, _ = stage
    listener = edge.forward(service, domain=BLOCKED)

    def refusals() -> list[dict[str, Any]]:
        failures = [one for one in edge.told("no automatic certificate") if one["host"] == BLOCKED]
        return [one for one in failures if "rejectedIdentifier" in one["reason"]]

    assert eventually(refusals)[0]["next_attempt"]
    eventually(lambda: edge.metric("portico_automatic_certificate_failures").get(f'name="{BLOCKED}"', 0) >= 1)
    assert not edge.is_public(host_of(listener))


def test_an_endpoint_may_have_challenges_of_its_own(stage: Stage, tmp_path: Path) -> None:
    """A token that the edge does not know is the upstream's; so is acme-tls/1 where TLS ends behind the edge."""
    edge, _, _ = stage
    with http_service() as port:
        listener = edge.forward(port, schemes=["HTTP"], domain="own.example.org")
        answer = curl(listener.url() + "/.well-known/acme-challenge/own-token", edge.edge.ca)
        assert answer.body == "served /.well-known/acme-challenge/own-token\n"
    with acme_upstream(*KeyPairs(tmp_path, "own").issue("passing.example.org")) as (port, seen):
        edge.forward(port, proto="tls", domain="passing.example.org")
        shown = edge.certificate("passing.example.org", alpn="acme-tls/1")
        assert "passing.example.org" in str(shown.subject)
        assert eventually(lambda: seen) == ["acme-tls/1"]


def test_a_handshake_of_an_authority_for_an_unknown_name_is_refused(stage: Stage) -> None:
    edge, _, _ = stage
    with pytest.raises((ssl.SSLError, OSError)):
        edge.certificate("nobody.example.org", alpn="acme-tls/1")


def test_row_1_24_a_wildcard_serves_random_names_at_once(
    wild_stage: tuple[Stage, Path], service: int, tmp_path: Path
) -> None:
    (edge, pebble, _), directory = wild_stage
    visitor = trusting(tmp_path, pebble)
    edge.until_public(f"anything.{DOMAIN}")
    before = pebble.orders()
    for _ in range(3):
        listener = edge.forward(service)
        assert visitor.get(listener.url() + "/now") == (200, "served /now\n")
    assert pebble.orders() == before

    def cleaned_up() -> bool:
        presented, cleaned = hooks(directory)
        return cleaned == presented > 0

    eventually(cleaned_up)


def test_a_wildcard_endpoint_has_a_wildcard_certificate(
    wild_stage: tuple[Stage, Path], service: int, tmp_path: Path
) -> None:
    (edge, pebble, _), _ = wild_stage
    visitor = trusting(tmp_path, pebble)
    listener = edge.forward(service, domain="*.apps.example.org")
    port = urlsplit(listener.url()).port
    edge.until_public("one.apps.example.org")
    before = pebble.orders()
    for label in ("one", "two", "three"):
        assert visitor.get(f"https://{label}.apps.example.org:{port}/w") == (200, "served /w\n")
    assert pebble.orders() == before


def hooks(directory: Path) -> tuple[int, int]:
    text = (directory / "dns-hook.log").read_text()
    return text.count("present "), text.count("clean ")


class acme_upstream:  # noqa: N801 - a context manager
    """An upstream that ends TLS itself and remembers the protocols that visitors chose."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def __enter__(self) -> tuple[int, list[str]]:
        self.context.set_alpn_protocols(["acme-tls/1"])
        self.server = socket.create_server(("127.0.0.1", 0))
        self.seen: list[str] = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self.server.getsockname()[1], self.seen

    def _serve(self) -> None:
        with self.server.accept()[0] as raw, self.context.wrap_socket(raw, server_side=True) as connection:
            self.seen.append(connection.selected_alpn_protocol() or "")

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.thread.join()
