"""The peers, from their registries, built once into .cache/peers; who cannot be had is named with the reason."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import ROOT
from portico.version import __version__

CACHE = ROOT / ".cache" / "peers"

# The newest that the registries served in November 2026; a new version here is built beside the old one.
_FRP = "v0.71.0"
_CHISEL = "v1.11.8"
_RATHOLE = "0.5.0"
_BORE = "0.6.0"


class Missing(Exception):  # noqa: N818 - it is a finding, and the run goes on
    """Why a peer cannot be had here."""


@dataclass
class Programs:
    """What there is to run."""

    paths: dict[str, Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """By peer: why it is not here."""


def programs(peers: Mapping[str, "Callable[[], Found]"]) -> Programs:
    """Build what is not built yet; minutes the first time."""
    found = Programs(versions={"Portico": __version__})
    for name, build in peers.items():
        try:
            made = build()
        except Missing as reason:
            found.missing[name] = str(reason)
            continue
        found.paths |= made.paths
        found.versions[name] = made.version
    return found


@dataclass(frozen=True)
class Found:
    """One peer's programs."""

    version: str
    paths: dict[str, Path]


def _frp() -> Found:
    directory = CACHE / f"frp-{_FRP}"
    for program in ("frps", "frpc"):
        # Its dashboards are built with npm and are not in the module; `noweb` is upstream's own switch for that.
        go_program("github.com/fatedier/frp", _FRP, f"./cmd/{program}", directory / program, f"{program},noweb")
    return Found(_FRP, {program: directory / program for program in ("frps", "frpc")})


def _chisel() -> Found:
    path = CACHE / f"chisel-{_CHISEL}" / "chisel"
    go_program("github.com/jpillora/chisel", _CHISEL, ".", path, "")
    return Found(_CHISEL, {"chisel": path})


def _rathole() -> Found:
    return Found(_RATHOLE, {"rathole": _cargo("rathole", _RATHOLE, "rathole")})


def _bore() -> Found:
    return Found(_BORE, {"bore": _cargo("bore-cli", _BORE, "bore")})


def _openssh() -> Found:
    client = shutil.which("ssh")
    if client is None:
        raise Missing("there is no ssh")
    server = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    path = Path(server) if server else _debian_sshd()
    # It knows no flag for its version, and says it with its usage.
    said = subprocess.run([path, "-?"], capture_output=True, text=True, env=library_path(path), check=False).stderr
    version = re.search(r"OpenSSH_\S+", said)
    return Found(version[0] if version else "unknown", {"ssh": Path(client), "sshd": path})


def library_path(program: Path) -> dict[str, str]:
    """The environment for a program that was unpacked with its libraries beside it."""
    libraries = (
        [str(each) for each in (program.parents[2] / "lib").glob("*") if each.is_dir()]
        if CACHE in program.parents
        else []
    )
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)} if libraries else dict(os.environ)


def _debian_sshd() -> Path:
    """Unpacked, not installed: an installed one would start a server for everybody on port 22."""
    directory = CACHE / "openssh"
    path = directory / "usr" / "sbin" / "sshd"
    if path.exists():
        return path
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise Missing("there is no sshd, and no apt-get to fetch it with")
    packages = CACHE / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", "-q", "openssh-server", "libwrap0"], packages)
    for package in packages.glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(directory)], packages)
    usr = directory / "usr" / "lib"
    shutil.copytree(usr, directory / "lib", dirs_exist_ok=True, symlinks=True)
    return path


def go_program(module: str, version: str, package: str, path: Path, tags: str = "") -> None:
    """Build a package of a module at `path`, unless it is there. Raises Missing."""
    if path.exists():
        return
    if shutil.which("go") is None:
        raise Missing("there is no go to build it with")
    said = json.loads(_run(["go", "mod", "download", "-json", f"{module}@{version}"], ROOT))
    source = path.parent / "source"
    # `go install` refuses modules with replacements, and asks for the list of all versions; the module itself has both.
    shutil.copytree(said["Dir"], source, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for directory, _, _ in os.walk(source):
        Path(directory).chmod(0o755)
    _run(["go", "build", "-trimpath", "-tags", tags, "-o", str(path), package], source)
    shutil.rmtree(source)


def _cargo(crate: str, version: str, program: str) -> Path:
    root = CACHE / f"{crate}-{version}"
    path = root / "bin" / program
    if not path.exists():
        if shutil.which("cargo") is None:
            raise Missing("there is no cargo to build it with")
        _run(["cargo", "install", "--quiet", "--root", str(root), "--version", f"={version}", crate], ROOT)
    return path


def _run(command: list[str], directory: Path) -> str:
    done = subprocess.run(["nice", *command], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise Missing(f"{' '.join(command[:2])} failed: {last[:200]}")
    return done.stdout


PEERS: dict[str, Callable[[], Found]] = {
    "frp": _frp,
    "rathole": _rathole,
    "chisel": _chisel,
    "bore": _bore,
    "OpenSSH": _openssh,
}
