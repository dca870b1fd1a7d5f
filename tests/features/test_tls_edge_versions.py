"""TLS versions, certificates, ALPN and resumption at a real edge; openssl, sslscan and curl are the visitors."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import portico
from kit.client_certificates import HOUR, SERVER, VisitorAuthority
from kit.curl import curl
from kit.edge import running_edge
from kit.openssl import Handshake
from kit.polling import eventually
from kit.recorder import recording_upstream
from kit.sslscan import versions
from kit.tls_edge import DOMAIN, TlsEdge
from portico.model.errors import CERTIFICATE_INVALID, PorticoError

owner = VisitorAuthority("owner")
OLD = ["-cipher", "DEFAULT@SECLEVEL=0"]
"""What lets today's openssl speak yesterday's TLS."""
FAILED = "a visitor's handshake failed"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsEdge]:
    directory = tmp_path_factory.mktemp("tls-edge")
    with running_edge(directory, "--domain", DOMAIN) as edge, recording_upstream() as upstream:
        yield TlsEdge(edge, upstream, directory)
        portico.kill()


BOTH, MODERN, OLDER = {"1.2", "1.3"}, {"1.3"}, {"1.2"}
ENDED = {
    # where TLS ends at the edge: https on the edge's certificate and on one made on demand, and tls
    "https://app.edge.test": {},
    "https://app.own.test": {},
    "tls://app-tls.edge.test": {"terminate_at": "edge"},
}


@pytest.mark.parametrize("url", ENDED)
def test_row_1_26_minimum_1_2_and_1_3_preferred(tls: TlsEdge, url: str) -> None:
    with tls.serving(url, **ENDED[url]) as host:
        assert versions(tls.port, host) == BOTH
        assert tls.visit(host).version == "TLSv1.3"
        assert tls.visit(host, "-tls1_2").version == "TLSv1.2"
        for old in ("-tls1", "-tls1_1"):
            assert tls.visit(host, old, *OLD).alert == 70


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [({"min_version": "1.3"}, MODERN), ({"max_version": "1.2"}, OLDER), ({"min_version": 1.2}, BOTH), ({}, BOTH)],
)
@pytest.mark.parametrize("url", ["https://app.edge.test", "https://app.own.test", "tls://app-tls.edge.test"])
def test_row_1_26_an_endpoint_s_own_versions(
    tls: TlsEdge, url: str, policy: dict[str, object], wanted: set[str]
) -> None:
    with tls.serving(url, terminate_tls=policy) as host:
        assert versions(tls.port, host) == wanted
        refused = {"-tls1_2": "1.2", "-tls1_3": "1.3"}
        for flag, version in refused.items():
            assert tls.visit(host, flag).alert == (None if version in wanted else 70)


def test_row_1_26_old_clients_reach_no_upstream(tls: TlsEdge) -> None:
    with tls.serving("tls://old.edge.test", terminate_at="edge") as host:

        def refused() -> bool:
            # again, as the edge writes so many lines of visitors a second, and the scans before had theirs
            assert tls.visit(host, "-tls1_1", *OLD).alert == 70
            lines = [one for one in tls.log(FAILED) if one.get("server_name") == host]
            return any("UNSUPPORTED PROTOCOL" in one["reason"] and one["chain"] == "tls" for one in lines)

        before = tls.upstream.connections
        eventually(refused)
        assert tls.upstream.connections == before


@pytest.mark.parametrize("names", [1, 200, 500])
def test_a_long_hello_in_pieces_is_understood(tls: TlsEdge, names: int) -> None:
    with (
        tls.serving("https://long.edge.test") as host,
        socket.create_connection(("127.0.0.1", tls.port), 30) as visitor,
    ):
        visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.create_default_context(cafile=str(tls.edge.ca))
        context.set_alpn_protocols([f"a-protocol-of-ours-{number:05}" for number in range(names)] + ["http/1.1"])
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = context.wrap_bio(received, sent, server_hostname=host)
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
        hello = sent.read()
        assert len(hello) > 25 * names
        for at in range(0, len(hello), 1000):
            visitor.sendall(hello[at : at + 1000])
        while end.selected_alpn_protocol() is None:
            received.write(visitor.recv(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        assert end.selected_alpn_protocol() == "http/1.1"


def test_no_weak_cipher_is_offered(tls: TlsEdge) -> None:
    if shutil.which("sslscan") is None:
        pytest.skip("sslscan is missing")
    with tls.serving("https://ciphers.edge.test") as host:
        command = ["sslscan", "--xml=-", "--no-colour", f"--sni-name={host}", f"127.0.0.1:{tls.port}"]
        scan = ElementTree.fromstring(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        suites = {str(each.get("cipher")) for each in scan.iter("cipher")}
        assert suites
        assert all(name.startswith(("TLS_", "ECDHE-")) for name in suites)
        weak = ("RC4", "DES", "NULL", "EXP", "MD5", "CBC")
        assert not [name for name in suites if any(word in name for word in weak)]


@pytest.mark.parametrize(
    ("wishes", "suite"),
    [
        ((), "AES256-GCM-SHA384"),  # first in OpenSSL's own order
        (("-cipher", "ECDHE+CHACHA20:ECDHE+AESGCM"), "CHACHA20-POLY1305"),
        (("-cipher", "ECDHE+AES128:ECDHE+CHACHA20:ECDHE+AESGCM"), "AES128-GCM-SHA256"),
    ],
)
def test_the_visitor_chooses_the_cipher(tls: TlsEdge, wishes: tuple[str, ...], suite: str) -> None:
    with tls.serving("https://chosen.edge.test") as host:
        assert tls.visit(host, "-tls1_2", *wishes).cipher == f"ECDHE-ECDSA-{suite}"


@pytest.mark.parametrize("with_rsa", [False, True])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_row_1_18_own_pairs_of_either_kind(tls: TlsEdge, scheme: str, version: str, with_rsa: bool) -> None:
    intermediate = owner.intermediate("office")
    pair = intermediate.issue(dns=["own.example.com"], usage=SERVER, with_rsa=with_rsa)
    policy = {"server_certificate": pair.certificate, "server_private_key": pair.key}
    ca = tls.directory / "owner.pem"
    ca.write_text(owner.pem)
    with tls.serving(f"{scheme}://own.example.com", terminate_tls=policy) as host:
        visit = tls.visit(host, version, "-CAfile", str(ca))
        assert "Verify return code: 0 (ok)" in visit.text
        assert ("type: RSA" in visit.text or "Peer signature type: RSA" in visit.text) is with_rsa


def test_row_1_27_a_certificate_that_does_not_cover_the_name_is_warned_of(tls: TlsEdge) -> None:
    pair = owner.issue(dns=["other.example.com"])
    with tls.serving("tls://named.example.com", terminate_at="edge", crt=pair.certificate, key=pair.key) as host:
        assert tls.visit(host).version == "TLSv1.3"
    (line,) = [one for one in tls.log("the endpoint's own certificate does not cover its name") if host in one["url"]]
    assert (line["level"], line["names"]) == ("warning", ["other.example.com"])


def test_row_1_27_a_key_of_another_certificate_is_refused(tls: TlsEdge) -> None:
    policy = {
        "server_certificate": owner.issue("shop", dns=["shop.example.com"]).certificate,
        "server_private_key": owner.issue().key,
    }
    with (
        pytest.raises(PorticoError, match="does not match the certificate of 'shop'") as refused,
        tls.serving("https://shop.example.com", terminate_tls=policy),
    ):
        pass
    assert str(CERTIFICATE_INVALID) in str(refused.value)
    with (
        pytest.raises(PorticoError, match="'old' expired on"),
        tls.serving(
            "https://shop.example.com",
            terminate_tls={
                "server_certificate": (old := owner.issue("old", starts=-3 * HOUR, lasts=HOUR)).certificate,
                "server_private_key": old.key,
            },
        ),
    ):
        pass


def test_alpn(tls: TlsEdge) -> None:
    with tls.serving("https://alpn.edge.test") as host:
        assert tls.visit(host, "-alpn", "h2,http/1.1").alpn == "h2"
        assert tls.visit(host, "-alpn", "http/1.1").alpn == "http/1.1"
        assert curl(f"https://{host}:{tls.port}", tls.edge.ca, "--http2").version == "2"


def again(tls: TlsEdge, host: str, version: str, session: Path) -> Handshake:
    return tls.visit(host, version, "-sess_in", str(session))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(tls: TlsEdge, tmp_path: Path, version: str) -> None:
    session = tmp_path / "session.pem"
    with tls.serving("https://again.edge.test") as host:
        assert not tls.visit(host, version, "-sess_out", str(session)).reused
        assert again(tls, host, version, session).reused


def test_sessions_are_resumed_after_envoy_was_replaced_and_after_it_died(tls: TlsEdge, tmp_path: Path) -> None:
    """The ticket keys are the edge's, not a process's."""
    sessions = {version: tmp_path / f"session{version}" for version in ("-tls1_2", "-tls1_3")}
    with tls.serving("https://kept.edge.test") as host:
        for version, session in sessions.items():
            tls.visit(host, version, "-sess_out", str(session))
        for number in (signal.SIGHUP, signal.SIGKILL):
            before = tls.edge.child("envoy")
            os.kill(tls.edge.process.pid if number is signal.SIGHUP else before, number)
            eventually(lambda: tls.edge.child("envoy") != before)  # noqa: B023 - waited for here
            eventually(lambda: "200 OK" in tls.visit(host).text)
            for version, session in sessions.items():
                assert again(tls, host, version, session).reused


def test_row_1_26_the_edge_s_own_minimum_is_a_floor(tmp_path: Path) -> None:
    flags = ("--domain", DOMAIN, "--tls-min-version", "1.3")
    with running_edge(tmp_path, *flags) as edge, recording_upstream() as upstream:
        modern = TlsEdge(edge, upstream, tmp_path)
        for url in ("https://app.edge.test", "https://app.own.test", "tls://app-tls.edge.test"):
            with modern.serving(url, terminate_tls={"min_version": "1.2"}) as host:
                assert versions(modern.port, host) == MODERN
        with (
            pytest.raises(PorticoError, match=r"1\.2 is below 1\.3"),
            modern.serving("https://old.edge.test", terminate_tls={"max_version": "1.2"}),
        ):
            pass
        portico.kill()
