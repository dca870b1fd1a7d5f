import hashlib
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from portico.certificates.acme_challenges import (
    ALPN,
    PATH,
    ChallengeDesk,
    challenge_app,
    challenge_certificate,
    tls_responder,
)
from portico.model.acme import AcmeChallenge, ChallengeKind

HTTP = AcmeChallenge(ChallengeKind.HTTP, "a.example.org", "token-1", "token-1.thumbprint")
TLS = AcmeChallenge(ChallengeKind.TLS_ALPN, "a.example.org", "token-2", "token-2.thumbprint")


def nothing(_kind: ChallengeKind, _host: str) -> list[AcmeChallenge]:
    return []


def test_the_desk_answers_for_its_host_and_token_alone_and_only_while_it_lasts() -> None:
    desk = ChallengeDesk(nothing)
    desk.put(HTTP)
    assert desk.http_answer("a.example.org", "token-1") == "token-1.thumbprint"
    assert desk.http_answer("b.example.org", "token-1") is None
    assert desk.http_answer("a.example.org", "token-9") is None
    assert desk.tls_answer("a.example.org") is None
    desk.remove(HTTP)
    desk.remove(HTTP)
    assert desk.http_answer("a.example.org", "token-1") is None


def test_what_another_node_put_up_is_found_in_the_store_but_not_looked_up_without_end() -> None:
    lookups: list[str] = []

    def lookup(_kind: ChallengeKind, host: str) -> list[AcmeChallenge]:
        lookups.append(host)
        return [TLS] if host == TLS.host else []

    desk = ChallengeDesk(lookup)
    assert desk.tls_answer("a.example.org") == "token-2.thumbprint"
    for _ in range(1_000):
        desk.tls_answer("stranger.example.org")
    assert len(lookups) < 1_000


async def test_requests_are_answered_by_host_and_token() -> None:
    desk = ChallengeDesk(nothing)
    desk.put(HTTP)
    transport = httpx.ASGITransport(challenge_app(desk))
    async with httpx.AsyncClient(transport=transport, timeout=60) as visitor:
        known = await visitor.get(f"http://a.example.org{PATH}token-1")
        assert (known.status_code, known.text) == (200, "token-1.thumbprint")
        for url in (
            f"http://b.example.org{PATH}token-1",
            f"http://a.example.org{PATH}x",
            f"http://a.example.org{PATH}",
        ):
            assert (await visitor.get(url)).status_code == 404


def test_the_certificate_shows_the_digest_in_a_critical_extension() -> None:
    pem, _ = challenge_certificate("a.example.org", "token.thumbprint")
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.org"]
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert extension.value.public_bytes() == b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest()


def shake_hands(path: Path, host: str | None, alpn: str) -> ssl.SSLSocket:
    import socket

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(10)
    raw.connect(str(path))
    return context.wrap_socket(raw, server_hostname=host)


async def test_a_handshake_for_a_challenge_is_answered_and_every_other_refused(tmp_path: Path) -> None:
    import asyncio

    desk = ChallengeDesk(nothing)
    desk.put(TLS)
    path = tmp_path / "t.sock"
    async with tls_responder(desk, path):
        connection = await asyncio.to_thread(shake_hands, path, "A.example.org", ALPN)
        assert connection.selected_alpn_protocol() == ALPN
        assert connection.getpeercert(binary_form=True)
        connection.close()
        for host in ("b.example.org", None):
            with pytest.raises((ssl.SSLError, OSError)):
                await asyncio.to_thread(shake_hands, path, host, ALPN)
    assert path.stat().st_mode & 0o077 == 0 if path.exists() else True
