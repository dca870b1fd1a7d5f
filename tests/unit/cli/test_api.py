"""`portico api`: what it is made of, and what it says when something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from portico.api.resource import StoredResource
from portico.api.resources import RESOURCES
from portico.cli.api_client import default_api_url
from portico.cli.main import run
from portico.model.errors import PorticoError

LOADED = (
    "import sys, portico.cli.api; print([n for n in ('fastapi', 'sqlalchemy', 'uvicorn', 'grpc') if n in sys.modules])"
)


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PORTICO_API_KEY", "NGROK_API_KEY", "PORTICO_CONNECT_URL", "PORTICO_CONNECT_CAS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_it_needs_none_of_the_servers_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_each_resource_has_its_verbs(resource: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = getattr(resource, "command_name", "") or getattr(resource, "name", "")
    assert run(["api", name.replace("_", "-"), "--help"]) == 0
    shown = capsys.readouterr().out
    stored = ("create", "update", "delete") if isinstance(resource, StoredResource) else ()
    assert all(f"\n  {verb} " in shown for verb in ("get", "list", *stored))


def test_a_lists_filters_are_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["api", "endpoints", "list", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--by-url", "--by-id", "--before-id", "--limit"))


def test_flags_are_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["api", "reserved-addrs", "create", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--description TEXT", "--metadata TEXT", "--port INTEGER", "--api-key KEY"))


def test_what_is_true_or_false_and_what_is_one_of_several_words_are_flags_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["api", "endpoints", "create", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(
        flag in shown for flag in ("--pooling-enabled true|false", "--bindings TEXT", "--url TEXT", "--api-url URL")
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["api", "credentials", "list"], 1, "PORTICO_20080"),
        (["api", "reserved-domains", "create", "--api-key", "k"], 2, "--domain"),
        (["api", "credential", "list"], 2, "did you mean credentials?"),
        (["api", "credentials", "list", "--limit", "101", "--api-key", "k"], 2, "101"),
        (["api", "credentials", "list", "--api-key", "k", "--api-url", "http://x"], 2, "is not https://"),
        (["api", "credentials", "list", "--api-key", "k", "--api-url", "https://[x"], 2, "is not https://"),
        (["api", "credentials", "list", "--api-key", "k", "--api-url", "https://api.localhost:1"], 1, "PORTICO_20081"),
        (["api", "certificate-authorities", "create", "--api-key", "k", "--ca-pem", "@/no/file"], 2, "cannot be read"),
        (["api", "credentials", "list", "--api-key", "k", "--api-cas", "/no/file"], 1, "PORTICO_20068"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == status
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("connect_url", "url"),
    [
        ("edge.example.com:8443", "https://api.edge.example.com:8443"),
        ("connect.edge.example.com:443", "https://api.edge.example.com:443"),
        ("localhost:8443", "https://api.localhost:8443"),
    ],
)
def test_the_api_is_found_beside_the_agents_door(connect_url: str, url: str) -> None:
    assert default_api_url(connect_url) == url


@pytest.mark.parametrize("connect_url", ["127.0.0.1:443", "[::1]:443"])
def test_an_address_has_no_api_of_its_own(connect_url: str) -> None:
    with pytest.raises(PorticoError, match="--api-url"):
        default_api_url(connect_url)
