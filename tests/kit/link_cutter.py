"""A TCP hop between an agent and the edge that can be cut, refused or frozen: the network's faults."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class LinkCutter:
    """Forwards connections to `target` and ends or freezes them on demand."""

    def __init__(self, target: tuple[str, int], listen: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._frozen: set[socket.socket] = set()
        self._refusing = False
        self._listener = socket.create_server(listen)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection that is open."""
        for pair in self._pairs:
            for side in pair:
                with contextlib.suppress(OSError):
                    # A zero linger time turns close into a reset (socket(7)).
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    side.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def freeze(self) -> None:
        """Let every open connection stand, but carry nothing any more: half-dead."""
        self._frozen.update(side for pair in self._pairs for side in pair)

    def freeze_and_cut_agent_side(self) -> None:
        """The agent learns that its link is dead, the edge does not: its half stands and says nothing."""
        pairs = list(self._pairs)
        self.freeze()
        self._pairs.clear()
        for near, _ in pairs:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def bury(self) -> None:
        """End what is frozen: the other side's kernel would keep its half for ever."""
        frozen, self._frozen = self._frozen, set()
        for side in frozen:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def refuse(self, refusing: bool) -> None:
        """End new connections at once, or serve them again."""
        self._refusing = refusing

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:  # nobody listens there now: neither do we
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if source in self._frozen:
                    continue
                sink.sendall(data)
        if source not in self._frozen:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def link_cutter(port: int) -> Iterator[LinkCutter]:
    """A hop to 127.0.0.1:`port`."""
    cutter = LinkCutter(("127.0.0.1", port))
    try:
        yield cutter
    finally:
        cutter.close()
