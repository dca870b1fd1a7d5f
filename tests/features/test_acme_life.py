"""Row 1.24: the life of automatic certificates: renewed, swapped under open connections, kept over restarts, and what
happens while authorities are away, refuse, or want less."""

import json
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import portico
from kit.acme_edge import DOMAIN, AcmeEdge, Place, acme_edge, trusting
from kit.key_pairs import KeyPairs
from kit.pebble import BLOCKED, Names, running_names, running_pebble
from kit.polling import eventually
from kit.ports import free_port
from kit.service import http_service
from kit.visitor import Visitor
from portico.certificates.acme_rules import AcmeDirectory
from portico.certificates.acme_session import AcmeError, AcmeSession

VALID, PENDING, FAILING, RENEWING = (f'state="{state}"' for state in ("valid", "pending", "failing", "renewing"))


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    with running_names() as running:
        yield running


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with http_service() as port:
        yield port


@pytest.fixture(autouse=True)
def _no_listener_is_left() -> Iterator[None]:
    yield
    portico.kill()


def states(edge: AcmeEdge) -> dict[str, float]:
    return {state: count for state, count in edge.metric("portico_automatic_certificates").items() if count}


def test_row_1_24_a_restart_orders_nothing_and_the_suggested_window_renews(tmp_path: Path, names: Names) -> None:
    place = Place.free()
    with running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https) as pebble:
        with acme_edge(tmp_path, place, pebble.settings) as edge:
            edge.until_public(DOMAIN)
            first = edge.certificate(DOMAIN)
            expiry = edge.metric("portico_automatic_certificate_expiry_timestamp_seconds")
            assert expiry == {f'name="{DOMAIN}"': first.not_valid_after_utc.timestamp()}
            assert states(edge) == {VALID: 1}
            assert edge.told("has an account at a certificate authority")
        assert stat.S_IMODE((tmp_path / "edge" / "portico.db").stat().st_mode) == 0o600
        with acme_edge(tmp_path, place, pebble.settings) as edge:
            assert edge.certificate(DOMAIN) == first
            assert not edge.told("has an account at a certificate authority")
        assert pebble.orders() == 1
        # RFC 9773: the authority wants it back, long before its time.
        hour = timedelta(hours=1)
        now = datetime.now(UTC)
        pebble.suggest_window(first.public_bytes(Encoding.PEM).decode(), now - 2 * hour, now - hour)
        with acme_edge(tmp_path, place, pebble.settings) as edge:
            second = eventually(lambda: edge.certificate(DOMAIN) != first and edge.certificate(DOMAIN))
            assert second.serial_number != first.serial_number
            edge.until_public(DOMAIN)
        assert pebble.orders() == 2
        text = (tmp_path / "edge.log").read_text()
        assert "PRIVATE KEY" not in text


def test_row_1_24_certificates_change_under_open_connections(tmp_path: Path, names: Names, service: int) -> None:
    place = Place.free()
    brief = {"brief": {"description": "seconds", "validityPeriod": 6}}
    with (
        running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https, profiles=brief) as pebble,
        acme_edge(tmp_path, place, pebble.settings) as edge,
    ):
        listener = edge.forward(service, domain="swap.example.org")
        edge.until_public("swap.example.org")
        first = edge.certificate("swap.example.org")
        visitor = trusting(tmp_path, pebble)

        def opened() -> HTTPConnection:
            # A machine that is busy for seconds may show one that has just expired.
            connection = visitor.connection(listener.url())
            connection.connect()
            return connection

        connection = eventually(opened)
        connection.request("GET", "/stream?12")
        answer = connection.getresponse()
        seen = {first.serial_number}
        while (shown := edge.certificate("swap.example.org").serial_number) and len(seen) < 3:
            seen.add(shown)
        assert answer.read().decode().split() == [str(number) for number in range(120)]
        connection.close()


def test_an_authority_that_does_not_know_the_replaced_certificate_gets_an_order_all_the_same(
    tmp_path: Path, names: Names
) -> None:
    place = Place.free()
    with running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https) as pebble:
        session = AcmeSession(AcmeDirectory(**pebble.settings), "", None)
        session.account()
        unknown = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
        assert session.new_order(("one.example.org",), unknown).resource.uri
        with pytest.raises(AcmeError):
            session.new_order((BLOCKED,), unknown)


@contextmanager
def limited_authority(directory: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """An authority that says to everybody that he has ordered enough, and to come back in an hour."""
    asked: list[str] = []
    pairs = KeyPairs(directory, "limited")
    port = free_port()
    base = f"https://localhost:{port}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            directory = {name: f"{base}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
            self._send(200, "application/json", directory)

        def do_HEAD(self) -> None:
            self._send(200, "text/plain", None)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(self.path)
            problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates already"}
            self._send(429, "application/problem+json", problem)

        def _send(self, status: int, kind: str, body: object) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            fields = {"content-type": kind, "replay-nonce": "AAAA", "retry-after": "3600"}
            for name, value in {**fields, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Silent."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pairs.issue("localhost"))
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"url": f"{base}/dir", "ca_file": str(pairs.ca)}, asked
        server.shutdown()


def test_a_rate_limit_is_honoured_and_the_next_authority_asked(tmp_path: Path, names: Names, service: int) -> None:
    place = Place.free()
    with (
        limited_authority(tmp_path) as (limited, asked),
        running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https) as pebble,
        acme_edge(tmp_path, place, limited, pebble.settings) as edge,
    ):
        edge.until_public(DOMAIN)
        listener = edge.forward(service, domain="next.example.org")
        edge.until_public("next.example.org")
        assert trusting(tmp_path, pebble).get(listener.url() + "/n") == (200, "served /n\n")
        assert asked == ["/newAccount"]  # once, and not again within the hour
        refusals = edge.told("a certificate authority gave no certificate")
        assert "rateLimited: too many certificates already" in refusals[0]["reason"]


def test_while_all_authorities_are_away_the_own_one_answers(tmp_path: Path, names: Names, service: int) -> None:
    place = Place.free()
    with running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https) as pebble:
        pass
    port = urlsplit(pebble.url).port
    away = {"url": f"https://localhost:{free_port()}/dir", "ca_file": str(pebble.ca_file)}
    with acme_edge(tmp_path, place, away, pebble.settings) as edge:
        listener = edge.forward(service, domain="away.example.org")
        assert Visitor(edge.edge.ca).get(listener.url() + "/a") == (200, "served /a\n")
        eventually(lambda: states(edge) == {FAILING: 2})
        failures = edge.told("no automatic certificate")
        assert "cannot be reached" in failures[0]["reason"]
        assert failures[0]["reason"].count("localhost") == 2
        with running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https, port=port) as back:
            edge.until_public("away.example.org", DOMAIN)
            assert trusting(tmp_path, back).get(listener.url() + "/b") == (200, "served /b\n")
            assert states(edge) == {VALID: 2}


def test_an_authority_that_forgot_the_account_gets_the_same_key_again(tmp_path: Path, names: Names) -> None:
    place = Place.free()
    with (
        running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https) as pebble,
        acme_edge(tmp_path, place, pebble.settings) as edge,
    ):
        edge.until_public(DOMAIN)
        pebble.stop()
        port = urlsplit(pebble.url).port
        with (
            running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https, port=port),
            http_service() as service,
        ):
            edge.forward(service, domain="again.example.org")
            edge.until_public("again.example.org")


EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.mark.parametrize("bound", [True, False])
def test_an_authority_may_want_an_external_account(tmp_path: Path, names: Names, bound: bool) -> None:
    place = Place.free()
    wants = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": EAB_KEY}}
    with running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=place.https, **wants) as pebble:
        binding = {"eab_kid": "kid-1", "eab_hmac_key": EAB_KEY} if bound else {}
        with acme_edge(tmp_path, place, {**pebble.settings, **binding}, acme_email="ops@example.org") as edge:
            if bound:
                edge.until_public(DOMAIN)
            else:
                failure = eventually(lambda: edge.told("no automatic certificate"))[0]
                assert "externalAccountRequired" in failure["reason"]
            assert EAB_KEY not in edge.edge.log.read_text()


def test_the_next_kind_of_challenge_has_its_turn_after_a_failure(tmp_path: Path, names: Names) -> None:
    """The authority cannot reach port 443 here, so it is shown by port 80."""
    place = Place.free()
    with (
        running_pebble(tmp_path / "ca", names, http_port=place.http, tls_port=free_port()) as pebble,
        acme_edge(tmp_path, place, pebble.settings) as edge,
    ):
        edge.until_public(DOMAIN)
        refusal = edge.told("a certificate authority gave no certificate")[0]
        assert refusal["challenge"] == "tls-alpn-01"
        assert "Failed to connect" in refusal["reason"]
