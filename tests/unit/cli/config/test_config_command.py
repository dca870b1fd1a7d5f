"""`portico config edit`, and policies from a file and from an address."""

import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from portico.cli.config.models import Tunnel
from portico.cli.config.traffic_policy import policy_text
from portico.cli.main import run
from portico.model.errors import CONFIG_MISSING, POLICY_INVALID, PorticoError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VISUAL", raising=False)
    path = tmp_path / "portico.yml"
    path.write_text("version: 3\nagent:\n  log_level: info\n")
    return path


def test_edit_keeps_what_is_valid(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDITOR", "sed -i s/info/debug/")
    assert run(["config", "edit", "--config", str(file)]) == 0
    assert "log_level: debug" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(["config", "edit", "--config", str(file)]) == 0
    assert "unchanged" in capfd.readouterr().out


def test_edit_refuses_what_is_not(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = file.read_text()
    for editor, said in (
        ("sed -i s/info/loud/", "log_level: must be debug"),
        ("sed -i s/version/'v[er'/", "PORTICO_20060"),
        ("false", "ended with status 1"),
        ("no-such-editor", "cannot be started"),
        ("'unbalanced", "cannot be started"),
    ):
        monkeypatch.setenv("EDITOR", editor)
        assert run(["config", "edit", "--config", str(file)]) in (1, 2)
        assert said in capfd.readouterr().err
        assert file.read_text() == before


def test_edit_begins_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    assert run(["config", "edit", "--config", str(tmp_path / "new" / "portico.yml")]) == 0
    assert (tmp_path / "new" / "portico.yml").read_text().startswith("version: 3\n")


class _Policies(http.server.BaseHTTPRequestHandler):
    texts: ClassVar = {"/policy": b"on_http_request: []\n", "/list": b"- a\n", "/large": b"x" * ((1 << 20) + 1)}

    def do_GET(self) -> None:
        self.send_response(200 if self.path in self.texts else 404)
        self.end_headers()
        self.wfile.write(self.texts.get(self.path, b""))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def policies() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Policies)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_policies(policies: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text('{"on_http_request": []}')
    assert policy_text(Tunnel()) == ""
    assert policy_text(Tunnel(policy={"inbound": []})) == '{"inbound": []}'
    assert policy_text(Tunnel(traffic_policy_file=str(file))) == file.read_text()
    assert policy_text(Tunnel(traffic_policy_url=f"{policies}/policy")) == "on_http_request: []\n"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/list", POLICY_INVALID), ("/large", POLICY_INVALID), ("/none", CONFIG_MISSING), (":no-port", CONFIG_MISSING)],
)
def test_policies_that_cannot_be_had(policies: str, path: str, code: object) -> None:
    with pytest.raises(PorticoError) as caught:
        policy_text(Tunnel(traffic_policy_url=policies + path))
    assert caught.value.code is code


def test_a_policy_with_a_key_twice(tmp_path: Path) -> None:
    (tmp_path / "policy.yml").write_text("a: []\na: []\n")
    with pytest.raises(PorticoError, match="given twice"):
        policy_text(Tunnel(traffic_policy_file=str(tmp_path / "policy.yml")))
