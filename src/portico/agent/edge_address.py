"""Where the edge is and what its certificate must be signed by: `connect_url` and `connect_cas`."""

import os
import re
import ssl
import sys
import threading
from contextlib import suppress
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
            _trust_system(context)
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


def _trust_system(context: ssl.SSLContext) -> None:
    """What `load_default_certs` does, which keeps all other threads waiting meanwhile: 55 ms for 144 certificates."""
    if sys.platform == "win32":
        context.load_default_certs()
        return
    paths = ssl.get_default_verify_paths()
    directories = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    for where in ({"cafile": paths.cafile}, {"capath": directories}):
        if all(where.values()):
            with suppress(OSError):  # where nobody can be trusted, handshakes say so
                context.load_verify_locations(**where)


class Trust:
    """`edge_context(connect_cas)`, made in a thread of its own from now on: OpenSSL needs no interpreter for it."""

    def __init__(self, connect_cas: str) -> None:
        self._connect_cas = connect_cas
        self._made: ssl.SSLContext | PorticoError | None = None
        self._thread = threading.Thread(target=self._make, daemon=True, name="portico trust")
        self._thread.start()

    def context(self) -> ssl.SSLContext:
        """The context, waited for. Raises PorticoError(CERTIFICATE_INVALID)."""
        self._thread.join()
        if isinstance(self._made, ssl.SSLContext):
            return self._made
        raise self._made or RuntimeError("the thread that reads certificates has failed")

    def _make(self) -> None:
        try:
            self._made = edge_context(self._connect_cas)
        except PorticoError as error:
            self._made = error
