"""Installs or builds the programs of `tests/sdks` that are not Python; what is built stays in `.cache/sdks`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests" / "sdks"
EXAMPLES = ROOT / "examples" / "ngrok-sdks"
CACHE = ROOT / ".cache" / "sdks"
JOBS = "2"


def javascript() -> Path:
    """Directory with the SDK installed, the programs and the example."""
    target = _target("javascript", "node", "npm")
    for source in (*(SOURCES / "javascript").iterdir(), EXAMPLES / "forward.mjs"):
        shutil.copy(source, target)
    lock = target / "package-lock.json"
    installed = target / "node_modules" / ".of"
    if not installed.exists() or installed.read_bytes() != lock.read_bytes():
        _run(target, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        shutil.copy(lock, installed)
    return target


def go() -> Path:
    """Directory with the binaries `agent` and `forward`."""
    target = _target("go", "go")
    for binary, source in (("agent", "."), ("forward", str(EXAMPLES / "forward.go"))):
        _run(SOURCES / "go", "go", "build", "-p", JOBS, "-mod", "readonly", "-o", str(target / binary), source)
    return target


def go_v1() -> Path:
    """The binary `snippets` of the SDK's version 1."""
    binary = _target("go-v1", "go") / "snippets"
    _run(SOURCES / "go-v1", "go", "build", "-p", JOBS, "-mod", "readonly", "-o", str(binary), ".")
    return binary


def rust() -> Path:
    """Directory with the binaries `agent`, `forward` and `snippets`."""
    target = _target("rust", "cargo")
    _run(SOURCES / "rust", "cargo", "build", "-q", "--locked", "-j", JOBS, CARGO_TARGET_DIR=str(target))
    return target / "debug"


def _target(name: str, *programs: str) -> Path:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} missing")
    target = CACHE / name
    target.mkdir(parents=True, exist_ok=True)
    return target


def _run(directory: Path, *command: str, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
