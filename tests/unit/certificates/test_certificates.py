import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portico.certificates.authority import LEAF_LIFETIME, Authority
from portico.certificates.certificates import Certificates, edge_names
from portico.certificates.check import check_own_pair
from portico.certificates.uploads import Upload, Uploads
from portico.model.endpoint import KeyPair

START = datetime.now(UTC)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def certificates(clock: Clock) -> Certificates:
    return Certificates(
        Authority.create(START), "t.example.com", lambda host: host.endswith(".t.example.com"), now=clock, max_leaves=3
    )


def own_pair(*names: str) -> KeyPair:
    return Authority.create(START).issue(names, START)[0]


def test_the_edge_covers_its_own_names() -> None:
    assert edge_names("t.example.com") == (
        "t.example.com",
        "*.t.example.com",
        "connect.t.example.com",
        "api.t.example.com",
        "dashboard.t.example.com",
        "localhost",
        "127.0.0.1",
        "::1",
    )
    assert "*.localhost" not in edge_names("localhost")
    assert edge_names("localhost").count("localhost") == 1


def test_the_edges_own_names_get_the_edges_own_certificate(certificates: Certificates) -> None:
    assert certificates.for_name("connect.t.example.com") == certificates.edge_pair()
    assert certificates.for_name("t.example.com") == certificates.edge_pair()


def test_an_automatic_certificate_is_issued_once_and_only_where_allowed(certificates: Certificates) -> None:
    pair = certificates.for_name("a.t.example.com")
    assert pair is not None
    assert pair != certificates.edge_pair()
    assert certificates.for_name("a.t.example.com") is pair
    assert certificates.for_name("somewhere.else") is None
    assert certificates.expiries().leaves == 1


def test_an_upload_goes_before_the_automatic_one_and_its_end_brings_that_back(clock: Clock) -> None:
    uploads = Uploads(lambda _owner, _host: True)
    certificates = Certificates(Authority.create(START), "t.example.com", lambda _: True, uploads, now=clock)
    automatic = certificates.for_name("a.t.example.com")
    own = own_pair("a.t.example.com")
    uploads.replace([Upload("cert_1", "own_1", own, check_own_pair(own, now=START, where="own"))], {})
    assert certificates.for_name("a.t.example.com") is own
    assert list(certificates.expiries().uploads) == ["cert_1"]
    uploads.replace([], {})
    assert certificates.for_name("a.t.example.com") is automatic


def test_the_least_used_leaves_are_forgotten(certificates: Certificates) -> None:
    pairs = {host: certificates.for_name(f"{host}.t.example.com") for host in "abc"}
    certificates.for_name("a.t.example.com")
    certificates.for_name("d.t.example.com")
    assert certificates.for_name("a.t.example.com") is pairs["a"]
    assert certificates.for_name("c.t.example.com") is pairs["c"]
    assert certificates.for_name("b.t.example.com") is not pairs["b"]
    assert certificates.expiries().leaves == 3


def test_certificates_are_renewed_well_before_they_expire(certificates: Certificates, clock: Clock) -> None:
    edge, leaf = certificates.edge_pair(), certificates.for_name("a.t.example.com")
    clock.time = START + LEAF_LIFETIME / 2
    assert certificates.edge_pair() is edge
    assert certificates.for_name("a.t.example.com") is leaf
    clock.time = START + LEAF_LIFETIME * 0.7
    assert certificates.for_name("a.t.example.com") is not leaf
    assert certificates.edge_pair() is not edge
    assert certificates.expiries().edge > START + LEAF_LIFETIME


def test_near_the_end_of_the_ca_leaves_are_not_renewed_all_the_time(clock: Clock) -> None:
    authority = Authority.create(START)
    certificates = Certificates(authority, "t.example.com", lambda _: True, now=clock)
    clock.time = authority.not_after - timedelta(days=3)
    pair = certificates.for_name("a.t.example.com")
    clock.time += timedelta(days=1)
    assert certificates.for_name("a.t.example.com") is pair


def test_a_forgotten_leaf_is_gone(certificates: Certificates) -> None:
    pair = certificates.for_name("a.t.example.com")
    certificates.forget("a.t.example.com")
    certificates.forget("a.t.example.com")
    assert certificates.for_name("a.t.example.com") is not pair


@pytest.mark.parametrize("name", ["localhost", "connect.localhost", "127.0.0.1"])
def test_a_strict_tls_client_accepts_the_edge(tmp_path: Path, name: str) -> None:
    authority = Authority.create(START)
    pair = Certificates(authority, "localhost", lambda _: False).edge_pair()
    (tmp_path / "pair.pem").write_text(pair.certificate + pair.key)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "pair.pem")
    client_context = ssl.create_default_context(cadata=authority.pem)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    inside, outside = socket.socketpair()

    def serve() -> None:
        with server_context.wrap_socket(inside, server_side=True) as connection:
            connection.sendall(b"hello")

    server = threading.Thread(target=serve)
    server.start()
    with client_context.wrap_socket(outside, server_hostname=name) as connection:
        assert connection.recv(5) == b"hello"
    server.join()
