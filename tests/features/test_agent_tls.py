"""TLS that ends at the agent, at a real edge: what travels, who is refused and with which alert, what cannot be asked.

Rows of the seeds' documents on TLS termination (S1) and mutual TLS (S2); openssl and curl are the visitors.
"""

import logging
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import portico
from kit.cli import Terminal
from kit.client_certificates import HOUR, SERVER, VisitorAuthority, written
from kit.curl import curl
from kit.edge import RunningEdge
from kit.openssl import Handshake, s_client
from kit.polling import eventually
from kit.recorder import Recorder, recording_upstream
from portico import PorticoError
from portico.model.endpoint import KeyPair

HOST, STRICT = "own.localhost", "strict.localhost"
issuer, members, strangers = VisitorAuthority("issuer"), VisitorAuthority("members"), VisitorAuthority("strangers")
OWN = issuer.issue(dns=[HOST, STRICT], usage=SERVER)
REVOKED = members.issue("Revoked")
CAS = members.pem + members.revocations(REVOKED)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recorder]:
    with recording_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_text(issuer.pem)
    return path


@contextmanager
def serving(
    edge: RunningEdge, upstream: Recorder, pair: KeyPair = OWN, host: str = HOST, **options: Any
) -> Iterator[portico.Listener]:
    session = {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}
    own = {"terminate_at": "agent", "crt": pair.certificate, "key": pair.key}
    listener = portico.forward(upstream.port, "tls", domain=host, **session, **own, **options)  # type: ignore[misc]
    try:
        yield listener
    finally:
        listener.close()


@pytest.fixture(scope="module")
def strict(edge: RunningEdge, upstream: Recorder) -> Iterator[None]:
    """An endpoint for members alone."""
    with serving(edge, upstream, host=STRICT, mutual_tls_cas=CAS):
        yield


def visit(edge: RunningEdge, ca: Path, *flags: str, host: str = HOST, pair: KeyPair | None = None) -> Handshake:
    if pair is not None:
        certificate, key = written(pair, ca.parent)
        flags = (*flags, "-cert", str(certificate), "-key", str(key), "-cert_chain", str(certificate))
    return s_client(edge.https_port, host, ca, *flags)


UNFIT: dict[str, tuple[KeyPair | None, int, int, str]] = {
    # what is shown: the alert in TLS 1.2, in TLS 1.3 (RFC 5246, 7.2; RFC 8446, 6.2), and the reason in the log
    "none": (None, 40, 116, "it showed no certificate"),
    "of a stranger's CA": (strangers.issue("Mallory"), 48, 48, "of an unknown CA"),
    "expired": (members.issue("Old", starts=-3 * HOUR, lasts=HOUR), 45, 45, "has expired"),
    "not yet valid": (members.issue("Early", starts=HOUR), 42, 42, "is not valid yet"),
    "for servers": (members.issue("Server", usage=SERVER), 43, 43, "is not one for clients"),
    "revoked": (REVOKED, 44, 44, "is revoked"),
}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("shown", UNFIT)
@pytest.mark.usefixtures("strict")
def test_row_2_11_an_unfit_certificate_ends_the_handshake_at_the_agent(
    edge: RunningEdge, upstream: Recorder, ca: Path, shown: str, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "portico")
    pair, in_1_2, in_1_3, reason = UNFIT[shown]
    connections = upstream.connections
    handshake = visit(edge, ca, version, host=STRICT, pair=pair)
    assert handshake.alert == (in_1_2 if version == "-tls1_2" else in_1_3)

    def refusals() -> list[str]:
        told = (record for record in caplog.records if record.getMessage() == "a visitor's TLS was refused")
        return [record.__dict__["reason"] for record in told]

    assert reason in eventually(refusals)[-1]  # the agent says it once the alert is on its way
    assert upstream.connections == connections


@pytest.mark.usefixtures("strict")
def test_row_2_13_members_come_in_by_curl_with_two_files_and_with_one(
    edge: RunningEdge, ca: Path, tmp_path: Path
) -> None:
    certificate, key = written(members.issue("Ann"), tmp_path, "client")
    url = f"https://{STRICT}:{edge.https_port}/x"
    assert curl(url, ca, "--cert", str(certificate), "--key", str(key)).status == 200
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    assert curl(url, ca, "--cert", str(both)).status == 200
    assert curl(url, ca).status == 0


def test_row_2_9_any_of_several_authorities_and_chains(edge: RunningEdge, upstream: Recorder, ca: Path) -> None:
    below = members.intermediate("below")
    with serving(edge, upstream, mutual_tls_cas=members.pem + strangers.pem):
        for pair in (members.issue("a"), strangers.issue("b"), below.issue("c"), members.issue("d", with_rsa=True)):
            assert "HTTP/1.1 200" in visit(edge, ca, pair=pair).text


def test_row_1_26_versions(edge: RunningEdge, upstream: Recorder, ca: Path) -> None:
    with serving(edge, upstream):
        assert visit(edge, ca).version == "TLSv1.3"
        assert visit(edge, ca, "-tls1_2").version == "TLSv1.2"
        old = visit(edge, ca, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert (old.alert, old.version) == (70, "")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "chain"])
def test_row_1_15_kinds_of_certificates(edge: RunningEdge, upstream: Recorder, ca: Path, kind: str) -> None:
    authority = issuer.intermediate("below") if kind == "chain" else issuer
    pair = authority.issue(dns=[HOST], usage=SERVER, with_rsa=kind == "rsa")
    with serving(edge, upstream, pair):
        assert curl(f"https://{HOST}:{edge.https_port}/", ca).status == 200


def test_row_1_15_what_the_upstream_speaks_is_agreed_upon(edge: RunningEdge, upstream: Recorder, ca: Path) -> None:
    for protocol, agreed in (("http2", "h2"), ("http1", "http/1.1")):
        with serving(edge, upstream, app_protocol=protocol):
            assert visit(edge, ca, "-alpn", "h2,http/1.1").alpn == agreed


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (VisitorAuthority("flat", is_ca=False).pem, "'flat'.*cA false"),
        (VisitorAuthority("old", starts=-2 * HOUR, lasts=HOUR).pem, "'old'.*expired on"),
        ("nothing", "no PEM certificate"),
    ],
)
def test_row_2_10_unfit_authorities_are_refused(edge: RunningEdge, upstream: Recorder, pem: str, words: str) -> None:
    with ExitStack() as stack, pytest.raises(PorticoError, match=words):
        stack.enter_context(serving(edge, upstream, mutual_tls_cas=pem))


def test_row_1_27_the_certificate_at_the_edge_may_be_for_another_name(
    edge: RunningEdge, upstream: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    session = {"connect_url": edge.connect_url, "connect_cas": str(edge.ca), "authtoken": edge.authtoken}
    own = {"crt": OWN.certificate, "key": OWN.key, "domain": "other.localhost"}
    listener = portico.forward(upstream.port, "tls", **session, **own)  # type: ignore[misc]
    try:
        assert f"the certificate does not cover other.localhost; it is for {HOST}, {STRICT}" in caplog.text
    finally:
        listener.close()


def test_row_1_27_a_passphrase_is_asked_for_on_a_terminal(
    edge: RunningEdge, upstream: Recorder, ca: Path, tmp_path: Path
) -> None:
    certificate, key = written(OWN, tmp_path, "own")
    locked = tmp_path / "locked.key"
    lock = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:open sesame", "-out", str(locked)]
    subprocess.run(lock, check=True, capture_output=True)
    flags = ["--terminate-at", "agent", "--crt", str(certificate), "--key", str(locked)]
    terminal = Terminal(edge, "tls", str(upstream.port), "--url", f"tls://{HOST}", *flags)
    try:
        terminal.until("Passphrase of ")
        terminal.press(b"open sesame\n")
        terminal.until("Forwarding")
        assert "sesame" not in terminal.text
        assert curl(f"https://{HOST}:{edge.https_port}/", ca).status == 200
    finally:
        terminal.close()
