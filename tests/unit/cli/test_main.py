"""The program as a process: quick to start, never a traceback, exit statuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kit.cli import LATER
from portico.cli import failures
from portico.cli.main import portico, run
from portico.model.errors import CONNECT_FAILED, OPTION_INVALID, PorticoError
from portico.version import __version__


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PORTICO_", "NGROK_"))}
    return subprocess.run(
        [sys.executable, "-m", "portico.cli.main", *arguments],
        capture_output=True,
        text=True,
        env={**kept, **environment},
        check=False,
    )


def test_version() -> None:
    assert program("version").stdout == f"portico version {__version__}\n"
    assert program("--version").stdout == f"portico version {__version__}\n"
    assert json.loads(program("version", "--json").stdout) == {"version": __version__}


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["completion", "bash"], ["nonsense"]])
def test_small_commands_load_no_large_library(arguments: list[str]) -> None:
    code = f"""
import sys
from portico.cli.main import run
run({arguments})
print([name for name in ("pydantic", "rich", "yaml", "asyncio", "ssl", "cryptography", "starlette", "grpc")
       if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def loaded_before_the_session(directory: Path, *arguments: str) -> set[str]:
    """The modules that an agent has loaded when it is about to connect."""
    code = f"""
import sys
from portico.agent.session import AgentSession
async def connect(self, *, persistent): raise KeyboardInterrupt
AgentSession.connect = connect
from portico.cli.main import run
run([*{arguments}, "--authtoken", "t", "--connect-url", "127.0.0.1:1", "--log", "stdout", "--log-level", "crit"])
print(*sys.modules)
"""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(directory)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stderr.strip() == "error: stopped"
    return set(done.stdout.split())


@pytest.mark.parametrize("command", ["http", "tls", "tcp"])
def test_agents_start_with_few_libraries(command: str, tmp_path: Path) -> None:
    """Every one more is waited for at each start."""
    assert not (LATER | {"yaml"}) & loaded_before_the_session(tmp_path, command, "80")


def test_agents_with_a_file_load_one_library_for_it(tmp_path: Path) -> None:
    file = tmp_path / "portico.yml"
    file.write_text("version: 3\nendpoints: [{name: a, upstream: {url: 80}}]\n")
    assert not LATER & loaded_before_the_session(tmp_path, "start", "--all", "--config", str(file))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_PORTICO_COMPLETE" in program("completion", shell).stdout
    assert program("completion", SHELL=f"/bin/{shell}").stdout == program("completion", shell).stdout


def test_completion_of_commands_and_flags() -> None:
    def completed(words: str) -> list[str]:
        count = str(len(words.split(" ")) - 1)
        done = program(_PORTICO_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("portico t") == ["tls", "tcp"]
    assert "--traffic-policy-file" in completed("portico http --tra")
    assert completed("portico config up") == ["upgrade"]
    assert completed("portico --v") == ["--version"]


def test_commands_are_told_in_whole_sentences() -> None:
    said = program("config", "--help", COLUMNS="60").stdout
    assert "tell everything that is wrong with it." in " ".join(said.split())
    assert "..." not in said.partition("Commands:")[2]
    assert "add-server-addr" not in said, "ngrok's old word for add-connect-url is hidden"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (PorticoError(CONNECT_FAILED, "gone"), 1, "error: gone (PORTICO_20064)\n  Check"),
        (PorticoError(OPTION_INVALID, "one\ntwo"), 2, "error: invalid option (PORTICO_20067)\n  one\n  two\n"),
        (KeyboardInterrupt(), 1, "error: stopped\n"),
        (click.Abort(), 1, "error: stopped\n"),
        (BrokenPipeError(), 1, ""),
        (SystemExit(3), 3, ""),
        (SystemExit(None), 0, ""),
        (click.ClickException("Bad."), 1, "error: bad (PORTICO_20067)\n"),
        (click.UsageError("'x' is not a valid integer range."), 2, "error: 'x' is not a whole number (PORTICO_20067)"),
        (click.UsageError("Wrong."), 2, "error: wrong (PORTICO_20067)\n  See `portico --help`."),
    ],
)
def test_every_error_has_its_words_and_status(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failures.report(error) == status
    assert capsys.readouterr().err.startswith(said)


def test_a_fault_of_ours_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(portico, "invoke", broken)
    assert run(["version"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "ZeroDivisionError" in said
    [file] = tmp_path.iterdir()
    assert "Traceback" in file.read_text()
    assert file.name in said


def test_the_edge_says_when_it_is_not_installed() -> None:
    code = """
import sys
sys.modules["grpc"] = None
from portico.cli.main import run
sys.exit(run(["edge", "--help"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the edge needs grpc, not installed here (PORTICO_20045)\n  Run `pip install 'portico[edge]'`.\n"
    )
