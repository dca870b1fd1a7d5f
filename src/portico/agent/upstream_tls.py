"""What an agent asks of an upstream's TLS, and what it shows of itself there."""

import ssl
from typing import Final

from portico.agent.temporary_pem import load_key_pair
from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, PorticoError
from portico.model.tls import KeyPair, TlsVersion
from portico.model.value import Value

_MINIMUM: Final = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}


class UpstreamTls(Value, frozen=True):
    """How an agent speaks TLS to an upstream. By default it checks nothing, as ngrok's does."""

    verify: bool = False
    authorities: str | None = None
    """PEM of the CAs to trust instead of the system's; implies `verify`."""
    server_name: str | None = None
    """Name to ask for and to check, where it is not the upstream's host."""
    minimum: TlsVersion = TlsVersion.TLS_1_2
    key_pair: KeyPair | None = None
    """What we show where the upstream asks for a client certificate."""

    @property
    def verifies(self) -> bool:
        """Whether the upstream has to prove who it is."""
        return self.verify or self.authorities is not None

    def refuse_without_tls(self, upstream: str) -> None:
        """For an upstream without TLS: a demand that would not be met. Raises PorticoError(OPTION_INVALID)."""
        for given, words in (
            (self.key_pair, "a client certificate"),
            (self.authorities, "CAs to verify the upstream with"),
            (self.server_name, "a TLS server name"),
            (self.minimum is not TlsVersion.TLS_1_2, "a minimum version of TLS"),
        ):
            if given:
                raise PorticoError(
                    OPTION_INVALID,
                    f"{words} means nothing to {upstream}, which is not spoken to in TLS",
                    fix="Write the upstream as https://host:port, or tls://host:port for other protocols.",
                )

    def context(self, protocols: tuple[str, ...]) -> ssl.SSLContext:
        """A client context that offers `protocols` by ALPN. Raises PorticoError(CERTIFICATE_INVALID)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslobject_class = _UpstreamObject
        context.minimum_version = _MINIMUM[self.minimum]
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if not self.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.authorities is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(cadata=self.authorities)
            except (ssl.SSLError, ValueError) as error:
                raise PorticoError(CERTIFICATE_INVALID, f"the upstream's CAs cannot be read: {error}") from None
        if self.key_pair is not None:
            load_key_pair(context, self.key_pair)
        return context


UNVERIFIED: Final = UpstreamTls()


class _UpstreamObject(ssl.SSLObject):
    """Notes how far a failed handshake had come.

    In TLS 1.2 one alert stands for "no cipher in common" and for "no client certificate"; only the first comes before
    a cipher is chosen.
    """

    def do_handshake(self) -> None:
        """As the base does."""
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            error.after_server_hello = self.cipher() is not None  # type: ignore[attr-defined]
            raise
