"""TLS that ends at the agent: the visitor's TLS without a socket, between a stream's bytes and the upstream's."""

import ssl
from datetime import UTC, datetime
from typing import Final

from portico.agent.settings import AgentTls
from portico.agent.temporary_pem import load_key_pair

_PIECE: Final = 0x10000


def server_context(tls: AgentTls) -> ssl.SSLContext:
    """A server context: TLS 1.2 or better, and only visitors of the client authorities where there are any.

    Raises PorticoError(CERTIFICATE_INVALID).
    """
    from portico.model import x509  # brings cryptography, which few agents need

    now = datetime.now(UTC)
    x509.read_key_pair(tls.key_pair, now=now, where="the certificate and key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_key_pair(context, tls.key_pair)
    if tls.client_authorities is not None:
        x509.read_authorities(tls.client_authorities, now=now, where="the visitors' CAs")
        context.load_verify_locations(cadata=tls.client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


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
