"""bore: plain TCP with no encryption, a connection for each visitor."""

import contextlib
import random
from collections.abc import Iterator, Sequence

from benchmarks.comparison import Named
from benchmarks.peers.tunnel import Command, Contender, Forward, Program, Server, Setting, peer_server, tcp_target

CONTROL_PORT = 7835
"""Built in."""
_SECRET = "benchmark"


class Bore(Contender):
    """`bore server`, `bore local`."""

    needs = "bore"

    @property
    def named(self) -> Named:
        what = "`bore local` and `bore server`, which **encrypt nothing**: every byte is plain between the two"
        return Named("bore", "peer", f"{what}; an agent process for each service, a connection for each visitor.")

    @contextlib.contextmanager
    def serve(self, setting: Setting, forwards: Sequence[Forward]) -> Iterator[Server]:
        """The server, on an address of its own where its one port could be taken."""
        address, program = setting.place.server_address, str(setting.programs["bore"])
        if address == "127.0.0.1":
            address = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 250)}"
        ends = ("--bind-addr", address, "--bind-tunnels", "127.0.0.1", "--secret", _SECRET)

        def agents(some: Sequence[Forward]) -> list[Command]:
            host, _ = setting.place.dial(CONTROL_PORT, address, same_port=True)
            return [Command((program, "local", *local(each, host))) for each in some]

        with peer_server(Command((program, "server", *ends)), setting, (address, CONTROL_PORT)) as process:
            yield Program(process.pid, agents, tcp_target)


def local(forward: Forward, host: str) -> list[str]:
    """Arguments of `bore local`."""
    where = ["--local-host", "127.0.0.1", "--to", host, "--port", str(forward.public)]
    return [str(forward.local), *where, "--secret", _SECRET]
