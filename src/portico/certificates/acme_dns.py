"""Writes the TXT records of DNS-01: by a program of the operator's, or by dns-lexicon. Calls block."""

import importlib.util
import os
import subprocess
from typing import Final, Protocol

from portico.certificates.acme_rules import DnsProvider
from portico.certificates.acme_session import AcmeError

_COMMAND_SECONDS: Final = 300
_MISSING: Final = "dns-lexicon is not installed; install portico[acme-dns], or give a `command`"


class DnsWriter(Protocol):
    """Whoever can write TXT records."""

    def present(self, name: str, value: str) -> None:
        """Add a record beside those that are there. Raises AcmeError."""

    def clean(self, name: str, value: str) -> None:
        """Remove exactly that record. Raises AcmeError."""


def dns_writer(provider: DnsProvider) -> DnsWriter:
    """The writer that the settings ask for."""
    return CommandWriter(provider.command) if provider.command else LexiconWriter(provider)


def record_name(host: str) -> str:
    """Where the authority looks for `host` (RFC 8555, 8.4)."""
    return f"_acme-challenge.{host}"


class CommandWriter:
    """Runs `<command> present|clean <name> <value>`; the record is there when it returns."""

    def __init__(self, command: str) -> None:
        self._command = command

    def present(self, name: str, value: str) -> None:
        """Add a record."""
        self._run("present", name, value)

    def clean(self, name: str, value: str) -> None:
        """Remove a record."""
        self._run("clean", name, value)

    def _run(self, verb: str, name: str, value: str) -> None:
        try:
            done = subprocess.run(
                [self._command, verb, name, value],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
                # The notices' socket is control's alone.
                env={key: text for key, text in os.environ.items() if key != "NOTIFY_SOCKET"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AcmeError(f"{self._command} {verb} {name}: {type(error).__name__}") from None
        if done.returncode:
            complaint = " ".join(done.stderr.split())[-200:]
            raise AcmeError(f"{self._command} {verb} {name}: status {done.returncode} {complaint}".strip())


class LexiconWriter:
    """A provider that dns-lexicon knows."""

    def __init__(self, provider: DnsProvider) -> None:
        self._provider = provider

    def present(self, name: str, value: str) -> None:
        """Add a record."""
        self._run("create", name, value)

    def clean(self, name: str, value: str) -> None:
        """Remove a record."""
        self._run("delete", name, value)

    def _run(self, action: str, name: str, value: str) -> None:
        if importlib.util.find_spec("lexicon") is None:
            raise AcmeError(_MISSING)
        from lexicon.client import Client
        from lexicon.config import ConfigResolver

        provider = self._provider
        settings = {
            "provider_name": provider.provider,
            "action": action,
            "domain": name,
            "type": "TXT",
            "name": name,
            "content": value,
            **({"delegated": zone} if (zone := _zone_of(name, provider.zones)) else {}),
            provider.provider: dict(provider.options),
        }
        try:
            Client(ConfigResolver().with_dict(settings)).execute()  # type: ignore[no-untyped-call]
        except Exception as error:  # each provider raises what its own library raises
            # Their texts may quote credentials.
            raise AcmeError(
                f"dns-lexicon, provider {provider.provider}: {action} failed ({type(error).__name__})"
            ) from None


def _zone_of(name: str, zones: tuple[str, ...]) -> str:
    return max((zone for zone in zones if name.endswith(f".{zone}")), key=len, default="")
