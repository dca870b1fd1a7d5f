"""chisel: reverse forwards, SSH inside of a WebSocket, as it ships."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from benchmarks.comparison import Named
from benchmarks.peers.tunnel import (
    Command,
    Contender,
    Forward,
    Program,
    Server,
    Setting,
    peer_server,
    ports,
    tcp_target,
)
from kit.polling import eventually

_USER = "agent:benchmark"


class Chisel(Contender):
    """`chisel server --reverse`, `chisel client`."""

    needs = "chisel"

    @property
    def named(self) -> Named:
        what = "`chisel client` and `chisel server --reverse`; its own encryption (SSH in a WebSocket over plain HTTP)"
        return Named("chisel", "peer", f"{what}, as its documentation starts it, host key checked.")

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """The server; its host key's fingerprint stands in its log."""
        (bind,) = ports(1)
        address, program = setting.place.server_address, str(setting.programs["chisel"])
        command = (program, "server", "--host", address, "--port", str(bind), "--reverse", "--auth", _USER)
        log = setting.directory / "server.log"
        with peer_server(Command(command), setting, (address, bind)) as process:
            fingerprint = eventually(lambda: re.search(r"Fingerprint (\S+)", log.read_text()))
            assert fingerprint is not None

            def agents(some: Sequence[Forward]) -> list[Command]:
                host, port = setting.place.dial(bind, address)
                checks = ("--fingerprint", fingerprint[1], "--auth", _USER)
                return [Command((program, "client", *checks, f"http://{host}:{port}", *remotes(some)))]

            yield Program(process.pid, agents, tcp_target)


def remotes(forwards: Sequence[Forward]) -> list[str]:
    """As the command line of its client wants them."""
    return [f"R:127.0.0.1:{forward.public}:127.0.0.1:{forward.local}" for forward in forwards]
