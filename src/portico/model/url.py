"""The URL of an endpoint."""

from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

from portico.model.errors import URL_INVALID, PorticoError
from portico.model.names import normalize_host
from portico.model.value import Value


class Scheme(StrEnum):
    """How visitors speak to an endpoint."""

    HTTP = "http"
    HTTPS = "https"
    TLS = "tls"
    TCP = "tcp"


DEFAULT_PORTS: Final = {Scheme.HTTP: 80, Scheme.HTTPS: 443, Scheme.TLS: 443}


class EndpointUrl(Value, frozen=True, order=True):
    """`scheme://host[:port]`; the text leaves the port out where it is the scheme's own. A tcp URL has one always."""

    scheme: Scheme
    host: str
    port: int

    def __str__(self) -> str:
        suffix = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{self.host}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `scheme://host[:port]`. Raises PorticoError(URL_INVALID)."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise PorticoError(URL_INVALID, f"{text!r}: {error}") from None
        if parts.scheme not in list(Scheme):
            raise PorticoError(URL_INVALID, f"{text!r} has no scheme that endpoints know")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise PorticoError(URL_INVALID, f"{text!r} has more than scheme, host and port")
        scheme = Scheme(parts.scheme)
        if port == 0 or (port is None and scheme is Scheme.TCP):
            raise PorticoError(URL_INVALID, f"{text!r} has no port")
        return cls(scheme, normalize_host(parts.hostname or ""), port or DEFAULT_PORTS[scheme])
