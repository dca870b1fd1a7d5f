"""What the edge answers to an authority that looks whether a name leads here.

Any node of an edge may be the one that is looked at, so a challenge that is under way is in the store, too.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from portico.certificates.extensions import subject_alternative_name
from portico.model.acme import AcmeChallenge, ChallengeKind

log = logging.getLogger(__name__)

PATH: Final = "/.well-known/acme-challenge/"
"""RFC 8555, 8.3."""
ALPN: Final = "acme-tls/1"
"""RFC 8737, 6.2."""
_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""id-pe-acmeIdentifier (RFC 8737, 6.1)."""
_HANDSHAKE_SECONDS: Final = 5.0
_LOOKUPS_A_SECOND: Final = 50
"""Anybody may ask for challenges; what another node has put into the store is looked up so often at most."""

Lookup = Callable[[ChallengeKind, str], list[AcmeChallenge]]
"""The challenges of this kind for a host, from the store."""


class ChallengeDesk:
    """The challenges that are under way on this node, and on others that share its store."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._own: dict[tuple[ChallengeKind, str], list[AcmeChallenge]] = {}
        self._second = 0
        self._lookups = 0

    def put(self, challenge: AcmeChallenge) -> None:
        """Answer it from now on."""
        self._own.setdefault((challenge.kind, challenge.host), []).append(challenge)

    def remove(self, challenge: AcmeChallenge) -> None:
        """Answer it no more."""
        known = self._own.get((challenge.kind, challenge.host), [])
        if challenge in known:
            known.remove(challenge)
        if not known:
            self._own.pop((challenge.kind, challenge.host), None)

    def http_answer(self, host: str, token: str) -> str | None:
        """The key authorization of that token, or None where nobody ordered."""
        found = (one for one in self._all(ChallengeKind.HTTP, host) if one.token == token)
        challenge = next(found, None)
        return challenge.answer if challenge else None

    def tls_answer(self, host: str) -> str | None:
        """The key authorization that the certificate for `host` has to show; the latest one counts."""
        known = self._all(ChallengeKind.TLS_ALPN, host)
        return known[-1].answer if known else None

    def _all(self, kind: ChallengeKind, host: str) -> list[AcmeChallenge]:
        own = self._own.get((kind, host))
        if own:
            return own
        second = int(time.monotonic())
        self._lookups = self._lookups + 1 if second == self._second else 1
        self._second = second
        return self._lookup(kind, host) if self._lookups <= _LOOKUPS_A_SECOND else []


def challenge_app(desk: ChallengeDesk) -> Router:
    """Answers HTTP-01; a token that it does not know (404) is the endpoint's own matter."""

    async def answer(request: Request) -> Response:
        found = desk.http_answer(request.url.hostname or "", request.path_params["token"])
        # RFC 8555, 8.3: no media type is asked for, and servers commonly send this one.
        return Response(found, media_type="application/octet-stream") if found else PlainTextResponse("", 404)

    return Router(routes=[Route(PATH + "{token}", answer)])


@contextlib.asynccontextmanager
async def tls_responder(desk: ChallengeDesk, path: Path) -> AsyncIterator[None]:
    """Answers TLS-ALPN-01 on a Unix socket, where Envoy leads handshakes that speak `acme-tls/1`."""
    context = _server_context()

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        answer = desk.tls_answer(name.lower()) if name else None
        if answer is None or name is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = _challenge_context(name, answer)
        return None

    context.sni_callback = choose

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The handshake was all (RFC 8737, 3).
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(
        end, str(path), ssl=context, ssl_handshake_timeout=_HANDSHAKE_SECONDS, backlog=64
    )
    path.chmod(0o600)
    async with server:
        yield


def challenge_certificate(host: str, answer: str) -> tuple[str, str]:
    """The self-signed certificate of RFC 8737, 3, for a key authorization; certificate and key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "challenge")])
    digest = hashlib.sha256(answer.encode()).digest()
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(subject_alternative_name([host]), critical=False)
        # An OCTET STRING of 32 bytes, in DER.
        .add_extension(x509.UnrecognizedExtension(_IDENTIFIER, b"\x04\x20" + digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return certificate.public_bytes(Encoding.PEM).decode(), pem


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    return context


def _challenge_context(host: str, answer: str) -> ssl.SSLContext:
    """The ssl module reads certificates from files only; this one proves nothing to anybody else."""
    context = _server_context()
    descriptor, path = tempfile.mkstemp()
    try:
        with open(descriptor, "w") as file:
            file.write("".join(challenge_certificate(host, answer)))
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    return context
