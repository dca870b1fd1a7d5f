"""All contenders at once, each with its server and agents, before the same services; who is not at work rests."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.build import Programs
from benchmarks.peers.contenders import NO_TUNNEL
from benchmarks.peers.place import Place
from benchmarks.peers.services import Services, services
from benchmarks.peers.tunnel import DOMAIN, Contender, Forward, Setting, Target, Tunnel, ports, tunnel
from kit.key_pairs import KeyPairs


@dataclass(frozen=True)
class Way:
    """How visitors reach the services."""

    name: str
    targets: Mapping[str, Target]
    place: Place
    authority: Path
    """Some file of certificates: plain loads of curl want one all the same."""
    bulk_port: int
    """The service for large bodies itself, on the agent's loopback."""
    tunnel: Tunnel | None = None

    def roles(self) -> dict[str, list[int]]:
        """Processes of the server and of the agent; none where there is no tunnel."""
        return {"server": self.tunnel.server(), "agent": self.tunnel.agent()} if self.tunnel else {}


@dataclass
class Stage:
    """What runs, and who could not be started."""

    ways: list[Way] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)


class Ground:
    """Keys, and directories of the contenders' own."""

    def __init__(self, directory: Path, programs: Programs) -> None:
        self._directory = directory
        self._programs = programs
        self._authority = KeyPairs(directory, "benchmark")
        self._of_server = self._authority.issue(DOMAIN)
        self.of_services = self._authority.issue(f"*.{DOMAIN}")
        self._count = 0

    @property
    def authority(self) -> Path:
        """Who signed everything but the edges' own certificates."""
        return self._authority.ca

    def new_directory(self) -> Path:
        """Nobody else's."""
        self._count += 1
        directory = self._directory / str(self._count)
        directory.mkdir()
        return directory

    def setting(self, place: Place) -> Setting:
        """For one contender."""
        return Setting(place, self.new_directory(), self._programs.paths, self._of_server, self.authority)

    @contextlib.contextmanager
    def services(self, place: Place) -> Iterator[Services]:
        """The services at the agents' end of `place`."""
        with services(self.new_directory(), place, self.of_services, ports(2)) as running:
            yield running


def forwards(contender: Contender, running: Services, names: Sequence[str]) -> list[Forward]:
    """A public port for each of `names` that it carries."""
    carried = [name for name in names if name in contender.carries]
    local = {"small": running.small, "bulk": running.bulk, "secure": running.secure}
    if contender.ends_tls:
        local["secure"] = running.small
    return [Forward(name, local[name], port) for name, port in zip(carried, ports(len(carried)), strict=True)]


@contextlib.contextmanager
def running_stage(
    ground: Ground, place: Place, contenders: Sequence[Contender], names: Sequence[str] = ("small", "bulk", "secure")
) -> Iterator[Stage]:
    """Everybody, before services at the agents' end of `place`; first the way with no tunnel."""
    stage = Stage()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(ground.services(place))
        stage.ways.append(Way(NO_TUNNEL.name, _direct(running, place), place, ground.authority, running.bulk))
        for contender in contenders:
            name = contender.named.name
            if not set(names).intersection(contender.carries):
                continue
            try:
                made = _started(stack, ground, place, contender, running, names)
            except Exception as error:
                stage.absent[name] = f"it did not start: {error}"
                print(f"{name} did not start: {error}", file=sys.stderr, flush=True)
                continue
            stage.ways.append(Way(name, made.targets, place, ground.authority, running.bulk, made))
        yield stage


def _started(
    stack: contextlib.ExitStack,
    ground: Ground,
    place: Place,
    contender: Contender,
    running: Services,
    names: Sequence[str],
) -> Tunnel:
    """Twice, because a port that was free may be taken when it is wanted."""
    try:
        return stack.enter_context(tunnel(contender, ground.setting(place), forwards(contender, running, names)))
    except Exception:
        return stack.enter_context(tunnel(contender, ground.setting(place), forwards(contender, running, names)))


def _direct(running: Services, place: Place) -> dict[str, Target]:
    address = place.service_address
    return {
        "small": Target("http", f"small.{DOMAIN}", running.small, address),
        "bulk": Target("http", f"bulk.{DOMAIN}", running.bulk, address),
        "secure": Target("https", f"secure.{DOMAIN}", running.secure, address),
    }
