"""TLS that ends at the agent: the visitor's TLS without a socket, between a stream's bytes and the upstream's."""

import ssl
from datetime import UTC, datetime
from typing import Final

from portico.agent.dial_reason import openssl_name
from portico.agent.settings import AgentTls
from portico.agent.temporary_pem import load_key_pair, pem_file

_PIECE: Final = 0x10000


# OpenSSL's X509_V_ERR_* numbers, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_VERIFICATION: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed and of none of the CAs",
    19: "its certificate is of an unknown CA",
    20: "its certificate is of an unknown CA",
    21: "its certificate is of an unknown CA",
    3: "there is no revocation list of its certificate's CA",
    12: "the revocation list of its certificate's CA has expired",
    23: "its certificate is revoked",
    26: "its certificate is not one for clients (extended key usage)",
}
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS version from 1.2 on",
    "HTTP_REQUEST": "it speaks plain HTTP",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "NO_SHARED_CIPHER": "it has no cipher in common with us",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust our certificate (unknown CA)",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate (bad certificate)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it finds our certificate expired",
}


def server_context(tls: AgentTls, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A server context: TLS 1.2 or better, and only visitors of the client authorities where there are any.

    `protocols` is what the upstream speaks, to be agreed upon by ALPN. Raises PorticoError(CERTIFICATE_INVALID).
    """
    from portico.model import x509  # brings cryptography, which few agents need

    now = datetime.now(UTC)
    x509.read_key_pair(tls.key_pair, now=now, where="the certificate and key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # One ticket resumes as well as OpenSSL's two, each of which carries the visitor's certificate: mutual handshakes
    # a second were 490 with two and 720 with one (OpenSSL 3.0).
    context.num_tickets = 1
    load_key_pair(context, tls.key_pair)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if tls.client_authorities is not None:
        x509.read_authorities(tls.client_authorities, now=now, where="the visitors' CAs")
        with pem_file(tls.client_authorities) as path:
            context.load_verify_locations(cafile=path)
        if "BEGIN X509 CRL" in tls.client_authorities:
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def refusal(error: ssl.SSLError) -> str:
    """Why a visitor's handshake failed, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFICATION.get(error.verify_code, f"its certificate is refused: {error.verify_message}")
    reason = openssl_name(error)
    return _REASONS.get(reason) or reason.lower().replace("_", " ") or str(error)


class TlsEnd:
    """One visitor's TLS. Bytes in, bytes out; raises ssl.SSLError where the visitor's TLS is not acceptable."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        """Whether the handshake is done, a demanded client certificate verified included."""
        self.finished = False
        """Whether the visitor said that it sends no more."""

    def receive(self, data: bytes) -> bytes:
        """Take what came from the visitor; returns what it means in clear."""
        self._incoming.write(data)
        if not self.established and not self._shake_hands():
            return b""
        pieces = []
        while not self.finished:
            try:
                piece = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                piece = b""
            self.finished = not piece
            pieces.append(piece)
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Encrypt; see `to_visitor`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]

    def finish(self) -> None:
        """Say that nothing more will be sent (close_notify)."""
        if self.established:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                return  # the visitor's own close_notify is not waited for

    def to_visitor(self) -> bytes:
        """What has to go to the visitor now."""
        return self._outgoing.read()

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True
