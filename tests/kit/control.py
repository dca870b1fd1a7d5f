"""A scripted control: answers relays by fixed rules, and remembers what they said. For tests of the relay alone."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from portico.model.errors import PorticoError
from portico.relay import link

M = TypeVar("M")
Answer = Callable[[Any], link.Reply]


class ScriptedControl:
    """Serves `<run_dir>/control.sock`. Every rule is an attribute that a test may replace."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "control.sock"
        self.seen: list[link.FromRelay] = []
        self.options: dict[str, Any] = {}
        """Fields of the next bind leases, e.g. `http=1`."""
        self.heartbeat = (10.0, 15.0)
        self.deaf = False
        """Whether questions are left without an answer."""
        self.refuse: str | None = None
        """Protocol error text for every Auth and Bind."""
        self.refuse_ssh: dict[type, PorticoError] = {}
        """What is refused to SSH clients, by the type of the question."""
        self._ids = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Listen; a second start after `stop` is a restarted control."""
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Go away, connections included."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.close()
        self._writers.clear()
        self.path.unlink(missing_ok=True)

    def send(self, message: link.FromControl) -> None:
        """Command every relay."""
        for writer in self._writers:
            writer.write(link.pack(message))

    def all(self, kind: type[M]) -> list[M]:
        """What relays said of this kind, in order."""
        return [message for message in self.seen if isinstance(message, kind)]

    async def wait_for(self, kind: type[M], count: int = 1) -> M:
        """The `count`-th message of a kind, waiting for it."""
        async with asyncio.timeout(30):
            while len(self.all(kind)) < count:
                self._news.clear()
                await self._news.wait()
        return self.all(kind)[count - 1]

    async def figures(self) -> dict[str, float]:
        """What the relay answers to Collect."""
        request = next(self._ids)
        self.send(link.Collect(id=request))
        await self.wait_for(link.Figures, len(self.all(link.Figures)) + 1)
        return next(one.values for one in self.all(link.Figures) if one.id == request)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        messages: link.MessageReader[link.FromRelay] = link.MessageReader(link.FromRelay)
        while data := await reader.read(1 << 16):
            for message in messages.feed(data):
                self.seen.append(message)
                self._news.set()
                if not self.deaf and (reply := self.answer(message)) is not None:
                    writer.write(link.pack(reply))
        if writer in self._writers:
            self._writers.remove(writer)
        writer.close()

    def answer(self, message: link.FromRelay) -> link.Reply | None:
        """The reply to a question, None to what is none."""
        match message:
            case link.Authenticate() | link.Bind() if self.refuse is not None:
                return link.Reply(id=message.id, body={"Error": self.refuse})
            case link.SshCheck() | link.SshAuthenticate() | link.SshForward() if type(message) in self.refuse_ssh:
                return link.Reply(id=message.id, body=link.refusal(self.refuse_ssh[type(message)]))
            case link.SshCheck():
                return link.Reply(id=message.id, body={})
            case link.SshAuthenticate():
                lease = link.SessionLease(
                    session=message.session,
                    remote=message.remote,
                    lease={},
                    heartbeat_interval=0,
                    heartbeat_tolerance=0,
                )
                return link.Reply(id=message.id, body={}, session=lease)
            case link.SshForward():
                return self._ssh_forward(message)
            case link.Authenticate():
                return self._authenticate(message)
            case link.Bind():
                return self._bind(message)
            case link.Unbind() | link.Patch():
                return link.Reply(id=message.id, body={"Error": "", "Extra": None})
            case link.ServerInfo():
                return link.Reply(id=message.id, body={"Region": "test"})
            case _:
                return None

    def _ssh_forward(self, message: link.SshForward) -> link.Reply:
        bind = f"bind{next(self._ids)}"
        fields: dict[str, Any] = {"proto": "tcp", "url": f"tcp://{bind}.test:{next(self._ids)}", **self.options}
        lease = link.BindLease(session=message.session, bind=bind, address=message.address, lease={}, **fields)
        return link.Reply(id=message.id, body={}, bind=lease)

    def _authenticate(self, message: link.Authenticate) -> link.Reply:
        client = str(message.body.get("ClientId") or f"client{next(self._ids)}")
        interval, tolerance = self.heartbeat
        lease = link.SessionLease(
            session=message.session,
            remote=message.remote,
            lease={"client": client},
            heartbeat_interval=interval,
            heartbeat_tolerance=tolerance,
        )
        extra = {"Version": "test", "Region": "test", "Cookie": "c", "AccountName": "test", "SessionDuration": 0}
        body: dict[str, object] = {
            "Version": "3",
            "ClientId": client,
            "Error": "",
            "Extra": {**extra, "PlanName": "", "Banner": ""},
        }
        return link.Reply(id=message.id, body=body, session=lease)

    def _bind(self, message: link.Bind) -> link.Reply:
        bind = str(message.body.get("Id") or f"bind{next(self._ids)}")
        proto = str(message.body.get("Proto") or "https")
        url = f"{proto}://{bind}.test"
        fields: dict[str, Any] = {"proto": proto, "url": url, "lease": {"url": url}, **self.options}
        lease = link.BindLease(session=message.session, bind=bind, address=message.address, **fields)
        extra = {"Token": f"token-{bind}", "TunnelID": f"tn_{bind}"}
        body = {"Id": bind, "URL": url, "Proto": proto, "Opts": message.body.get("Opts"), "Error": "", "Extra": extra}
        return link.Reply(id=message.id, body=body, bind=lease)
