"""`portico service` with a real systemd, a real edge and a service behind it."""

import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli import COMMAND
from kit.curl import curl
from kit.edge import RunningEdge, running_edge
from kit.polling import eventually
from kit.recorder import recording_upstream
from kit.systemd import Systemd, running_systemd
from portico.cli.service.manager import Program
from portico.cli.service.systemd import Systemd as SystemdUnits

UNIT = "portico.service"
DOMAIN = "service.test"
NOT_RUNNING = 3


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEdge]:
    with running_edge(tmp_path_factory.mktemp("edge"), "--domain", DOMAIN) as running:
        yield running


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with running_systemd(tmp_path) as running:
        yield running


def portico(systemd: Systemd, *words: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return systemd.run(*COMMAND, "service", *words, "--user", directory=directory)


def unit(systemd: Systemd) -> Path:
    return systemd.home / ".config/systemd/user" / UNIT


def configured(directory: Path, edge: RunningEdge, port: int) -> Path:
    """A configuration file that names another beside it."""
    shutil.copy(edge.ca, directory / "ca.pem")
    file = directory / "own.yml"
    file.write_text(
        "version: 3\n"
        f"agent: {{authtoken: {edge.authtoken}, connect_url: '{edge.connect_url}', connect_cas: ca.pem}}\n"
        f"endpoints: [{{name: web, url: 'https://web.{DOMAIN}', upstream: {{url: {port}}}}}]\n"
    )
    return file


def test_the_life_of_a_service(systemd: Systemd, edge: RunningEdge, tmp_path: Path) -> None:
    directory = tmp_path / 'it\'s "50%" of $HOME \\ all'
    directory.mkdir()
    with recording_upstream() as upstream:
        file = configured(directory, edge, upstream.port)

        def answers() -> bool:
            return curl(f"https://web.{DOMAIN}:{edge.https_port}/", edge.ca).status == 200

        installed = portico(systemd, "install", "--config", file.name, directory=directory)
        assert installed.returncode == 0, installed.stderr
        assert f"installed {unit(systemd)}" in installed.stdout
        assert "journalctl --user -u portico" in installed.stdout
        assert (unit(systemd).parent / "default.target.wants" / UNIT).is_symlink()
        assert edge.authtoken not in unit(systemd).read_text()
        assert portico(systemd, "status").returncode == NOT_RUNNING

        assert portico(systemd, "start").stdout == "started portico\n"
        eventually(answers)
        status = portico(systemd, "status")
        assert (status.returncode, status.stdout) == (0, f"portico is active ({unit(systemd)})\n")

        first = systemd.main_pid(UNIT)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: systemd.main_pid(UNIT) not in (0, first))
        eventually(answers)

        second = systemd.main_pid(UNIT)
        assert portico(systemd, "restart").stdout == "restarted portico\n"
        assert systemd.main_pid(UNIT) not in (0, second)
        eventually(answers)

        assert portico(systemd, "stop").stdout == "stopped portico\n"
        assert systemd.main_pid(UNIT) == 0
        stopped = portico(systemd, "status")
        assert (stopped.returncode, stopped.stdout) == (NOT_RUNNING, f"portico is inactive ({unit(systemd)})\n")

        assert portico(systemd, "start").returncode == 0
        last = systemd.main_pid(UNIT)
        assert portico(systemd, "uninstall").stdout == f"removed {unit(systemd)}\n"
        assert not Path(f"/proc/{last}").exists()
        assert not unit(systemd).exists()
        assert not (unit(systemd).parent / "default.target.wants" / UNIT).is_symlink()
        assert systemd.run("systemctl", "--user", "cat", UNIT).returncode != 0


def test_what_is_refused_leaves_nothing(systemd: Systemd, edge: RunningEdge, tmp_path: Path) -> None:
    def refusal(*words: str) -> str:
        done = portico(systemd, *words)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    def install(text: str) -> str:
        (tmp_path / "own.yml").write_text(text)
        return refusal("install", "--config", str(tmp_path / "own.yml"))

    endpoints = "endpoints: [{name: web, upstream: {url: 80}}]\n"
    assert "PORTICO_20060" in install("version: 3\nagent: {authtokn: abc}\n" + endpoints)
    assert "the configuration file has no authtoken (PORTICO_20062)" in install("version: 3\nagent: {}\n" + endpoints)
    assert "no endpoint that could be started" in install("version: 3\nagent: {authtoken: abc}\n")
    assert "PORTICO_20061" in refusal("install", "--config", str(tmp_path / "none.yml"))
    assert "there is no" in refusal("install")
    for verb in ("start", "stop", "restart", "status", "uninstall"):
        assert "the service is not installed" in refusal(verb)
    assert not unit(systemd).exists()

    file = configured(tmp_path, edge, 80)
    adrift = dataclasses.replace(systemd, environment={**systemd.environment, "XDG_RUNTIME_DIR": str(tmp_path / "no")})
    refused = portico(adrift, "install", "--config", str(file), directory=tmp_path)
    assert refused.returncode == 1
    assert "systemctl --user daemon-reload" in refused.stderr
    assert not unit(systemd).exists()

    assert portico(systemd, "install", "--config", str(file), directory=tmp_path).returncode == 0
    written = unit(systemd).read_text()
    again = portico(systemd, "install", "--config", str(file), directory=tmp_path)
    assert again.returncode == 1
    assert "installed already" in again.stderr
    assert unit(systemd).read_text() == written


def test_systemd_finds_nothing_wrong_with_the_system_s_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    units = SystemdUnits(own=False)
    assert units.file == Path("/etc/systemd/system/portico.service")
    file = tmp_path / UNIT
    file.write_text(units.described(Program(("/bin/sh", "-c", 'echo "100 %" \\ $HOME'), Path("/"))))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert UNIT not in done.stderr
    assert done.returncode == 0, done.stderr
