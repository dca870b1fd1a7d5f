"""Certificates and keys that a flag or a key of the file names: PEM itself, or the path of a PEM file."""

import os
import sys
from pathlib import Path

from portico.agent.termination import AskPassphrase, check_pair, opened_key
from portico.model.errors import CERTIFICATE_INVALID, PorticoError
from portico.model.tls import KeyPair


def read_certificates(value: str | None) -> str | None:
    """Certificates, from where `value` says. Raises PorticoError(CERTIFICATE_INVALID)."""
    return None if value is None else _read(value, "certificate")


def read_key(value: str | None, passphrase_file: str | None, ask: AskPassphrase | None) -> str | None:
    """A private key without its passphrase, which is looked for in the file, in the environment, and with a person.

    Raises PorticoError(CERTIFICATE_INVALID).
    """
    if value is None:
        if passphrase_file is not None:
            raise PorticoError(CERTIFICATE_INVALID, "a file with a passphrase is given, but no private key for it")
        return None
    passphrase = _first_line(passphrase_file) if passphrase_file else os.environ.get("PORTICO_KEY_PASSPHRASE")
    return opened_key(_read(value, "private key"), passphrase or None, _named(value), ask)


def read_key_pair(
    certificate: str | None, key: str | None, passphrase_file: str | None, ask: AskPassphrase | None
) -> KeyPair | None:
    """A pair for the upstream, checked; None where neither is given. Raises PorticoError(CERTIFICATE_INVALID)."""
    opened = read_key(key, passphrase_file, ask)
    if certificate is None and opened is None:
        return None
    if certificate is None or opened is None:
        missing = "upstream_client_crt" if certificate is None else "upstream_client_key"
        raise PorticoError(CERTIFICATE_INVALID, f"{missing} is missing: certificate and key go together")
    pair = KeyPair(_read(certificate, "certificate"), opened)
    check_pair(pair, f"{_named(certificate)} and its key")
    return pair


def read_authorities(values: tuple[str, ...]) -> str | None:
    """The PEM of all the certificate authorities named. Raises PorticoError(CERTIFICATE_INVALID)."""
    if not values:
        return None
    return "\n".join(_read(value, "certificate").strip() for value in values) + "\n"


def ask_on_terminal() -> AskPassphrase | None:
    """Asks for a passphrase, where there is somebody to ask."""
    if not sys.stdin.isatty():
        return None

    def ask(what: str) -> str:
        from getpass import getpass

        return getpass(f"Passphrase of {what}: ")

    return ask


def _read(value: str, what: str) -> str:
    if _is_pem(value):
        return value
    try:
        text = Path(value).expanduser().read_text("ascii", "replace")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise PorticoError(CERTIFICATE_INVALID, f"{value} cannot be read: {reason}") from None
    if f"{what.upper()}-----" not in text:
        raise PorticoError(CERTIFICATE_INVALID, f"there is no {what} in {value}")
    return text


def _first_line(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise PorticoError(CERTIFICATE_INVALID, f"the passphrase in {path} cannot be read: {reason}") from None


def _is_pem(value: str) -> bool:
    return value.lstrip().startswith("-----BEGIN")


def _named(value: str) -> str:
    return "the PEM given" if _is_pem(value) else value
