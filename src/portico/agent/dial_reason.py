"""Why a connection to an upstream or to the edge came to nothing: a word for programs and a sentence for people."""

import errno
import re
import socket
import ssl
from enum import StrEnum
from typing import Final

from portico.model.errors import UPSTREAM_TIMEOUT, UPSTREAM_UNREACHABLE, ErrorCode


class DialReason(StrEnum):
    """Why an upstream could not be reached."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    NAME_NOT_FOUND = "name-not-found"
    UNREACHABLE = "unreachable"
    NO_SOCKET = "no-socket"
    NOT_PERMITTED = "not-permitted"
    CLOSED = "closed"
    NOT_TLS = "not-tls"
    TLS_UNTRUSTED = "tls-untrusted"
    TLS_WRONG_NAME = "tls-wrong-name"
    TLS_EXPIRED = "tls-expired"
    TLS_NOT_YET_VALID = "tls-not-yet-valid"
    TLS_VERSION = "tls-version"
    TLS_CLIENT_CERTIFICATE = "tls-client-certificate"
    TLS_FAILED = "tls-failed"
    NO_HTTP2 = "no-http2"
    PROXY = "proxy"
    FAILED = "failed"


class DialError(Exception):
    """An upstream could not be reached: `reason` for programs, `text` for people."""

    def __init__(self, reason: DialReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text

    @property
    def code(self) -> ErrorCode:
        """What visitors are told: 504 where nothing answered in time, else 502."""
        return UPSTREAM_TIMEOUT if self.reason is DialReason.TIMEOUT else UPSTREAM_UNREACHABLE


_ERRNO_REASONS: Final = {
    errno.ECONNREFUSED: (DialReason.REFUSED, "connection refused"),
    errno.ENETUNREACH: (DialReason.UNREACHABLE, "the network is unreachable"),
    errno.EHOSTUNREACH: (DialReason.UNREACHABLE, "the host is unreachable"),
    errno.EADDRNOTAVAIL: (DialReason.UNREACHABLE, "the address is not available"),
    errno.ENOENT: (DialReason.NO_SOCKET, "there is no such socket"),
    errno.EACCES: (DialReason.NOT_PERMITTED, "permission denied"),
    errno.EPERM: (DialReason.NOT_PERMITTED, "permission denied"),
    errno.ECONNRESET: (DialReason.CLOSED, "the connection was reset"),
    errno.EPIPE: (DialReason.CLOSED, "the connection was closed"),
    errno.ETIMEDOUT: (DialReason.TIMEOUT, "no answer in time"),
}


def explain(error: OSError | ssl.SSLError | TimeoutError) -> tuple[DialReason, str]:
    """Why a connection failed, for programs and for people."""
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, socket.gaierror):
        return DialReason.NAME_NOT_FOUND, "the name is not known"
    known = _ERRNO_REASONS.get(error.errno or 0)
    if known is not None:
        return known
    if isinstance(error, TimeoutError):
        return DialReason.TIMEOUT, "no answer in time"
    if isinstance(error, ConnectionError):
        return DialReason.CLOSED, "the connection was closed"
    return DialReason.FAILED, error.strerror or str(error) or type(error).__name__


NO_HTTP2: Final = (DialReason.NO_HTTP2, "it does not speak HTTP/2 over TLS (ALPN)")

# OpenSSL's X509_V_ERR_* numbers, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_VERIFICATION: Final = {
    9: (DialReason.TLS_NOT_YET_VALID, "its certificate is not valid yet"),
    10: (DialReason.TLS_EXPIRED, "its certificate has expired"),
    62: (DialReason.TLS_WRONG_NAME, "its certificate is for another name"),
    64: (DialReason.TLS_WRONG_NAME, "its certificate is for another name"),
}
_UNTRUSTED: Final = (DialReason.TLS_UNTRUSTED, "its certificate is not trusted")
_NOT_TLS: Final = (DialReason.NOT_TLS, "it does not speak TLS; is it plain HTTP?")
_VERSION: Final = (DialReason.TLS_VERSION, "it speaks no version of TLS that is accepted here")
_DEMANDED: Final = (DialReason.TLS_CLIENT_CERTIFICATE, "it demands a client certificate")


def _refused(alert: str) -> tuple[DialReason, str]:
    return DialReason.TLS_CLIENT_CERTIFICATE, f"it refused the client certificate ({alert})"


# OpenSSL's names of its own findings and of the alerts that it got (RFC 8446 section 6.2).
_CAUSES: Final = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "VERSION_TOO_LOW": _VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _VERSION,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": NO_HTTP2,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _DEMANDED,
    "SSLV3_ALERT_NO_CERTIFICATE": _DEMANDED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _refused("bad certificate"),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _refused("unsupported certificate"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _refused("certificate revoked"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _refused("certificate expired"),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _refused("certificate unknown"),
    "TLSV1_ALERT_UNKNOWN_CA": _refused("unknown CA"),
    "TLSV1_ALERT_ACCESS_DENIED": _refused("access denied"),
}


def openssl_name(error: ssl.SSLError) -> str:
    """OpenSSL's name of what went wrong; Python knows not all of them, and then has its words in the text alone."""
    if error.reason:
        return str(error.reason)
    words = re.fullmatch(r"(?:\[\w+\] )?([\w ]+?)(?: \(\S+\))?", str(error.args[-1]) if error.args else "")
    return words[1].upper().replace(" ", "_") if words else ""


def _tls_reason(error: ssl.SSLError) -> tuple[DialReason, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, words = _VERIFICATION.get(error.verify_code, _UNTRUSTED)
        return reason, f"{words} ({error.verify_message})"
    cause = openssl_name(error)
    if cause == "SSLV3_ALERT_HANDSHAKE_FAILURE" and getattr(error, "after_server_hello", False):
        return _DEMANDED  # TLS 1.2 has no alert of its own for this (RFC 5246 section 7.4.6)
    other = f"the TLS handshake failed ({cause.lower().replace('_', ' ') or error})"
    return _CAUSES.get(cause, (DialReason.TLS_FAILED, other))
