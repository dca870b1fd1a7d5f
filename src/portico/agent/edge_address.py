"""Where the edge is and what its certificate must be signed by: `connect_url` and `connect_cas`."""

import re
import ssl
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, PorticoError
from portico.model.value import Value

DEFAULT_PORT: Final = 443
PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")
SYSTEM_CAS: Final = frozenset({"", "host", "trusted"})
"""Values of `connect_cas` that mean the system's store; `trusted` is ngrok's word for CAs built into an agent."""
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")


class EdgeAddress(Value, frozen=True):
    """Host and port that agents dial."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host[:port]`; a leading `https://` or `tls://` is let pass. Raises PorticoError(OPTION_INVALID)."""
        bare = re.sub(r"^(https|tls)://", "", text.strip(), flags=re.IGNORECASE).rstrip("/")
        host, colon, port = bare.rpartition(":")
        if not colon or bare.endswith("]"):
            host, port = bare, str(DEFAULT_PORT)
        if not _HOST.fullmatch(host) or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65_536:
            raise PorticoError(
                OPTION_INVALID, f"{text!r} is not an edge's address", fix="Write connect_url as host:port."
            )
        return cls(host.strip("[]"), int(port))


def check_proxy(url: str) -> None:
    """Whether `url` names a proxy that can be used; an error repeats nothing of it. Raises PorticoError."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in PROXY_SCHEMES and bool(parts.hostname and parts.port)
    except ValueError:
        known = False
    if not known:
        raise PorticoError(
            OPTION_INVALID, "proxy_url is no proxy's address", fix="Write it as http://host:port or socks5://host:port."
        )


def edge_context(connect_cas: str = "", pem: str = "", *, option: str = "connect_cas") -> ssl.SSLContext:
    """A client context that trusts the CAs in `pem`, else those of `connect_cas`: host, trusted, a file or a directory.

    `option` is what a person knows it by. Raises PorticoError(CERTIFICATE_INVALID).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if pem:
            context.load_verify_locations(cadata=pem)
        elif connect_cas in SYSTEM_CAS:
            context.load_default_certs()
        elif Path(connect_cas).is_dir():
            context.load_verify_locations(capath=connect_cas)
        else:
            context.load_verify_locations(cafile=connect_cas)
    except FileNotFoundError:
        raise PorticoError(CERTIFICATE_INVALID, f"{option}: there is no file {connect_cas!r}") from None
    except ssl.SSLError:
        what = "the text" if pem else repr(connect_cas)
        raise PorticoError(CERTIFICATE_INVALID, f"{option}: {what} has no certificate in PEM") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PorticoError(CERTIFICATE_INVALID, f"{option}: {connect_cas!r} cannot be read: {reason}") from None
    return context
