"""The files of `portico service`; tests/features/test_service.py has the real systemd."""

import plistlib
import sys
from pathlib import Path

import pytest

from portico.cli.main import run
from portico.cli.service.launchd import Launchd
from portico.cli.service.manager import Program, ask, this_machine
from portico.cli.service.systemd import Systemd
from portico.model.errors import SERVICE_MANAGER_MISSING, SERVICE_REFUSED, PorticoError

ODD = ('/opt/a "b"', "50%", "$HOME ${x}", "a\\b", "it's", "<&>", "naïve")
PROGRAM = Program(ODD, Path("/srv/100% sure"))
VALID = "version: 3\nagent: {authtoken: abc}\nendpoints: [{name: web, upstream: {url: 80}}]\n"


def test_a_unit_s_words_are_quoted() -> None:
    text = Systemd(own=False).described(PROGRAM)
    assert r'''ExecStart="/opt/a \"b\"" "50%%" "$$HOME $${x}" "a\\b" "it's" "<&>" "naïve"''' in text
    assert "WorkingDirectory=/srv/100%% sure\n" in text
    assert "After=network-online.target" in text
    assert "WantedBy=multi-user.target" in text


def test_a_user_s_unit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Systemd(own=True).file == tmp_path / "systemd/user/portico.service"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # is to be ignored, says the XDG Base Directory specification
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Systemd(own=True).file == tmp_path / ".config/systemd/user/portico.service"
    text = Systemd(own=True).described(PROGRAM)
    assert "network-online" not in text
    assert "WantedBy=default.target" in text


@pytest.mark.parametrize("own", [True, False])
def test_a_property_list(own: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    launchd = Launchd(own=own)
    library = tmp_path / "Library" if own else Path("/Library")
    assert launchd.file == library / ("LaunchAgents" if own else "LaunchDaemons") / "org.portico.agent.plist"
    found = plistlib.loads(launchd.described(PROGRAM).encode())
    assert tuple(found["ProgramArguments"]) == ODD
    assert found["WorkingDirectory"] == "/srv/100% sure"
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    log = str(library / "Logs/portico.log") if own else "/var/log/portico.log"
    assert found["StandardErrorPath"] == log
    assert launchd.hints == (f"its log: {log}",)


def test_without_a_manager_the_command_to_run_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "own.yml").write_text(VALID)
    assert run(["service", "install", "--config", str(tmp_path / "own.yml")]) == 1
    said = capsys.readouterr().err
    assert str(SERVICE_MANAGER_MISSING) in said
    assert f"-m portico.cli.main start --all --config={tmp_path}/own.yml --log=stdout --log-format=logfmt" in said
    with pytest.raises(PorticoError, match="neither systemd nor launchd"):
        this_machine(own=True)


def test_certificates_that_it_could_not_start_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.yml"
    file.write_text(VALID.replace("abc", f"abc, connect_cas: {tmp_path}/none.pem"))
    assert run(["service", "install", "--config", str(file)]) == 1
    assert f"connect_cas: there is no file '{tmp_path}/none.pem'" in capsys.readouterr().err


def test_the_file_s_own_log_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "own.yml").write_text(VALID.replace("abc", "abc, log: /var/log/portico.log, log_format: json"))
    run(["service", "install", "--config", str(tmp_path / "own.yml")])
    assert "--log" not in capsys.readouterr().err


@pytest.mark.parametrize(("command", "reason"), [(("false",), "false: status 1"), (("/none/such",), "cannot be run")])
def test_a_manager_s_refusal(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(PorticoError, match=reason) as refused:
        ask(*command)
    assert refused.value.code is SERVICE_REFUSED


def test_a_name_that_no_file_can_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("portico.cli.service.command.this_machine", lambda own: Systemd(own=True))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    file = tmp_path / "a\nb.yml"
    file.write_text(VALID)
    assert run(["service", "install", "--config", str(file)]) == 1
    assert "characters that no service's file can hold" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
