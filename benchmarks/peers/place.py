"""Where the parts of a tunnel run, and through what the agent reaches its server."""

import contextlib
from collections.abc import Iterator, Sequence

from benchmarks.wan import WideArea
from kit.link_cutter import LinkCutter


class Place:
    """One machine's loopback: server, agent, services and visitors beside each other."""

    server_address = "127.0.0.1"
    """Where the server listens for agents."""
    server_name = "localhost"
    """The same, as a certificate of Portico's edge names it."""
    service_address = "127.0.0.1"
    """Where visitors reach the services with no tunnel."""

    def at_server(self) -> contextlib.AbstractContextManager[None]:
        """The calling thread's sockets and children are the server's; visitors come from there."""
        return contextlib.nullcontext()

    def at_agent(self) -> contextlib.AbstractContextManager[None]:
        """The calling thread's sockets and children are the agent's."""
        return contextlib.nullcontext()

    def of_agent(self, command: Sequence[str]) -> list[str]:
        """A command that runs where the agent is."""
        return list(command)

    def dial(self, port: int, address: str = "127.0.0.1", *, same_port: bool = False) -> tuple[str, int]:
        """What the agent dials to reach the server's `port`; `same_port` where the agent takes no other."""
        del same_port
        return address, port


class CutPlace(Place):
    """Loopback, with a hop between agent and server that can be cut."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.cutters: list[LinkCutter] = []

    def dial(self, port: int, address: str = "127.0.0.1", *, same_port: bool = False) -> tuple[str, int]:
        """The hop's address."""
        listen = ("127.0.0.1" if not same_port else _beside(address), port if same_port else 0)
        cutter = LinkCutter((address, port), listen)
        self._stack.callback(cutter.close)
        self.cutters.append(cutter)
        return listen[0], cutter.port

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """No link, while the block runs."""
        for cutter in self.cutters:
            cutter.refuse(True)
        self.cut()
        try:
            yield
        finally:
            for cutter in self.cutters:
                cutter.refuse(False)

    def cut(self) -> None:
        """Reset what is open; new connections pass."""
        for cutter in self.cutters:
            cutter.cut()


class WidePlace(Place):
    """The ends of a wide-area link: services beside the agent, visitors beside the server."""

    def __init__(self, link: WideArea, name: str) -> None:
        self._link = link
        self.server_address = link.server.address
        self.server_name = name
        self.service_address = link.agent.address

    def at_server(self) -> contextlib.AbstractContextManager[None]:
        """In the server's namespace."""
        return self._link.inside(self._link.server)

    def at_agent(self) -> contextlib.AbstractContextManager[None]:
        """In the agent's namespace."""
        return self._link.inside(self._link.agent)

    def of_agent(self, command: Sequence[str]) -> list[str]:
        """With a hosts file that knows the server."""
        return self._link.command(self._link.agent, command)

    def dial(self, port: int, address: str = "127.0.0.1", *, same_port: bool = False) -> tuple[str, int]:
        """The server's end of the link."""
        del address, same_port
        return self.server_address, port


def _beside(address: str) -> str:
    """Another loopback address, for a hop on the very same port."""
    first, second, third, last = address.split(".")
    return f"{first}.{second}.{third}.{(int(last) + 1) % 255 or 1}"
