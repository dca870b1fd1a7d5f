"""Flag before environment before file before default."""

from pathlib import Path

import pytest

from portico.cli.setup import Setup, config_files, default_connect_url
from portico.model.errors import AUTHTOKEN_MISSING, OPTION_INVALID, PorticoError

FILE = "version: 3\nagent: {authtoken: file-token, connect_url: 'file:1', connect_cas: file.pem, metadata: m}\n"


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "portico.yml").write_text(FILE)
    return str(tmp_path / "portico.yml")


@pytest.mark.parametrize(
    ("flags", "environment", "token"),
    [
        ({}, {}, "file-token"),
        ({}, {"NGROK_AUTHTOKEN": "ngrok"}, "ngrok"),
        ({}, {"NGROK_AUTHTOKEN": "ngrok", "PORTICO_AUTHTOKEN": "portico"}, "portico"),
        ({}, {"NGROK_AUTHTOKEN": "ngrok", "PORTICO_AUTHTOKEN": ""}, "ngrok"),
        ({"authtoken": "flag"}, {"PORTICO_AUTHTOKEN": "portico"}, "flag"),
    ],
)
def test_authtoken(flags: dict[str, str], environment: dict[str, str], token: str, config: str) -> None:
    session = Setup.take({**flags, "config": (config,)}, environment).session()
    assert session.authtoken == token
    assert f"{token!r}" not in repr(session)


@pytest.mark.parametrize(
    ("flags", "environment", "edge", "cas"),
    [
        ({}, {}, "file:1", "file.pem"),
        ({}, {"PORTICO_CONNECT_URL": "env:2", "PORTICO_CONNECT_CAS": "env.pem"}, "env:2", "env.pem"),
        (
            {"connect_url": "flag:3", "connect_cas": "host"},
            {"PORTICO_CONNECT_URL": "env:2", "PORTICO_CONNECT_CAS": "env.pem"},
            "flag:3",
            "host",
        ),
    ],
)
def test_edge(flags: dict[str, str], environment: dict[str, str], edge: str, cas: str, config: str) -> None:
    session = Setup.take({**flags, "config": (config,)}, environment).session()
    assert (str(session.edge), session.connect_cas, session.metadata) == (edge, cas, "m")


def test_without_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert config_files(()) == []
    setup = Setup.take({"config": (), "authtoken": "t"}, {})
    assert str(setup.session().edge) == default_connect_url()
    with pytest.raises(PorticoError) as caught:
        Setup.take({"config": ()}, {}).session()
    assert caught.value.code is AUTHTOKEN_MISSING


def test_the_default_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "portico").mkdir()
    (tmp_path / "portico" / "portico.yml").write_text(FILE)
    assert Setup.take({"config": ()}, {}).session().authtoken == "file-token"


@pytest.mark.parametrize(("root", "url"), [(0, "localhost:443"), (1000, "localhost:8443")])
def test_the_default_edge_is_this_machines(root: int, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: root)
    assert default_connect_url() == url


@pytest.mark.parametrize("key", ["connect_interface: i", "dns_resolver_ips: [1.1.1.1]"])
def test_what_is_not_offered_is_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "portico.yml").write_text(f"version: 2\nauthtoken: t\n{key}\n")
    with pytest.raises(PorticoError) as caught:
        Setup.take({"config": (str(tmp_path / "portico.yml"),)}, {}).session()
    assert caught.value.code is OPTION_INVALID
