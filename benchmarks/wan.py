"""A wide-area link on one machine: round trip, loss and rate between two network namespaces.

    with wide_area(loss_percent=1) as link:
        with link.inside(link.server), running_edge(directory, "--https-addr", f"{link.server.address}:0", ...) as edge:
            subprocess.Popen(link.command(link.agent, ["portico", "http", "80"]), ...)

Both ends of a real TCP connection are this kernel's; between them two TUN devices and one process that holds each
packet back (`wan_carrier.py`, `wire.py`), because netem is not in every kernel. `python -m benchmarks.wan_figures`
measures the link itself. Needs root and /dev/net/tun.

TCP's congestion control decides what loss costs, so say it beside every figure: with 40 ms and 1 % of the packets of
each direction lost, one plain copy reaches 190 of 200 Mbit/s with BBR, and 3 with CUBIC, which many servers have.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

_ADDRESSES = ("198.18.0.1", "198.18.0.2")  # of the network for benchmarks, RFC 2544
_NEW_NET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@dataclass(frozen=True)
class End:
    """A network namespace with one address on the link, and a loopback of its own."""

    name: str
    address: str
    namespace: Path
    """Lives as long as the link."""
    enter: tuple[str, ...]


@dataclass
class WideArea:
    """The link while it stands."""

    server: End
    agent: End
    figures: dict[str, float] | None = None
    """Once it is gone: packets carried, lost, overflowed; the longest lateness in ms; CPU seconds of the carrier."""

    def command(self, end: End, argv: Sequence[str]) -> list[str]:
        """`argv` as a command that runs at that end, in the present working directory, with no process between."""
        return [*end.enter, f"--wd={Path.cwd()}", "--", *argv]

    @contextlib.contextmanager
    def inside(self, end: End) -> Iterator[None]:
        """Put the calling thread there: the sockets that it opens and the processes that it starts."""
        with _namespace("/proc/thread-self/ns/net") as before, _namespace(end.namespace) as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(before)


def why_not() -> str | None:
    """Why there can be no link on this machine."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    missing = [program for program in ("ip", "nsenter", "mount") if shutil.which(program) is None]
    return f"missing: {', '.join(missing)}" if missing else None


def congestion_controls() -> list[str]:
    """Those of this kernel."""
    return _AVAILABLE.read_text().split()


@contextlib.contextmanager
def wide_area(
    delay_ms: float = 40.0,
    loss_percent: float = 0.0,
    megabits: float = 200.0,
    congestion: str = "bbr",
    *,
    names: Sequence[str] = (),
    seed: int = 1,
) -> Iterator[WideArea]:
    """A link. What runs at its ends is killed when it goes.

    Args:
        delay_ms: the round trip; half of it each way, in packets' order.
        loss_percent: how likely each packet is lost, in each direction by itself.
        megabits: the rate of each direction in 10⁶ bit/s; its queue holds one bandwidth-delay product.
        congestion: TCP's congestion control at both ends.
        names: what means the server in the agent's hosts file, for processes started by `command`.
        seed: of the losses.
    Raises RuntimeError where the machine cannot, see `why_not`.
    """
    if reason := why_not():
        raise RuntimeError(reason)
    rate = megabits * 1e6 / 8
    path = {"delay": delay_ms / 2e3, "rate": rate, "queue": int(rate * delay_ms / 1e3), "loss": loss_percent / 100}
    with tempfile.NamedTemporaryFile("w", prefix="portico-hosts-") as hosts:
        hosts.write(f"127.0.0.1 localhost\n{_ADDRESSES[0]} {' '.join(('server', *names))}\n")
        hosts.flush()
        link = {
            "addresses": _ADDRESSES, "path": path, "congestion": congestion, "seed": seed, "hosts": hosts.name,
        }  # fmt: skip
        carrier = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.wan_carrier", json.dumps(link)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            yield from _standing(carrier)
        finally:
            carrier.kill()
            carrier.wait()


def _standing(carrier: "subprocess.Popen[str]") -> Iterator[WideArea]:
    assert carrier.stdout is not None
    line = carrier.stdout.readline()
    if not line:
        raise RuntimeError("the link did not come up; its process says why")
    descriptors = {name: Path(f"/proc/{carrier.pid}/fd/{number}") for name, number in json.loads(line).items()}
    net, mounts = ("nsenter", f"--net={descriptors['agent']}"), f"--mount={descriptors['mounts']}"
    link = WideArea(
        End("server", _ADDRESSES[0], descriptors["server"], ("nsenter", f"--net={descriptors['server']}")),
        End("agent", _ADDRESSES[1], descriptors["agent"], (*net, mounts)),
    )
    try:
        yield link
    finally:
        for end in (link.server, link.agent):
            _empty(end)
        said, _ = carrier.communicate()
        if said:
            link.figures = json.loads(said)


def _empty(end: End) -> None:
    """Kill what still runs there, other than the carrier, which has figures to tell."""
    kept = {os.getpid(), int(end.namespace.parts[2])}
    with contextlib.suppress(OSError):
        namespace = end.namespace.stat().st_ino
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                pid = int(process.name)
                if pid not in kept and (process / "ns/net").stat().st_ino == namespace:
                    os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _namespace(path: Path | str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
