import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from portico.certificates.acme_dns import CommandWriter, dns_writer, record_name
from portico.certificates.acme_rules import DnsProvider
from portico.certificates.acme_session import AcmeError


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_the_command_gets_verb_name_and_value(tmp_path: Path) -> None:
    writer = dns_writer(DnsProvider(command=program(tmp_path, f'echo "$@" >> {tmp_path}/said')))
    assert isinstance(writer, CommandWriter)
    writer.present(record_name("example.org"), "a value")
    writer.clean(record_name("example.org"), "a value")
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["present _acme-challenge.example.org a value", "clean _acme-challenge.example.org a value"]


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    writer = CommandWriter(program(tmp_path, "echo the zone is locked >&2; exit 3"))
    with pytest.raises(AcmeError, match="status 3 the zone is locked"):
        writer.present("n", "v")


def test_a_missing_command_is_named() -> None:
    with pytest.raises(AcmeError, match="/nonexistent/hook present n: FileNotFoundError"):
        CommandWriter("/nonexistent/hook").present("n", "v")


def test_a_provider_that_lexicon_does_not_know_is_named_without_its_credentials() -> None:
    if importlib.util.find_spec("lexicon") is None:
        pytest.skip("dns-lexicon is not installed")
    # In a process of its own: lexicon puts modules into the interpreter that warn whenever somebody looks at them.
    done = subprocess.run([sys.executable, "-c", UNKNOWN], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "dns-lexicon, provider nobody: create failed (ProviderNotAvailableError)\n"


UNKNOWN = """
from portico.certificates.acme_dns import LexiconWriter, dns_writer
from portico.certificates.acme_rules import DnsProvider
from portico.certificates.acme_session import AcmeError

writer = dns_writer(DnsProvider(provider="nobody", options={"auth_token": "a-secret"}))
assert isinstance(writer, LexiconWriter)
try:
    writer.present("_acme-challenge.example.org", "v")
except AcmeError as error:
    print(error)
"""
