"""One SSH connection: who it is, what it asks for, and what its person is told."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

import asyncssh

from portico.model.errors import OPTION_INVALID, PorticoError
from portico.relay import link
from portico.relay.session import Surroundings
from portico.ssh import limits
from portico.ssh.command import HELP, Command, parse
from portico.ssh.session import Forward, SshSession
from portico.ssh.terminal import Conversation, Terminal

log = logging.getLogger(__name__)

_MAX_AGENT: Final = 100
"""Characters of the client's version that are kept."""
UNKNOWN_KEY: Final = (
    "The key {} is not registered at this edge.\r\n"
    "Register it with `portico api ssh-credentials create`, or give an authtoken of this edge as password.\r\n"
)
NO_FORWARD: Final = "Give at least one -R: `ssh -R 0:localhost:8080 v2@EDGE http`."


class SshConnection(asyncssh.SSHServer, Conversation):
    """asyncssh's view of one connection. Nothing but reverse forwards and one terminal is ever granted."""

    def __init__(self, around: Surroundings, left: Callable[[], None], *, refused: bool = False) -> None:
        """`left` is called when the connection has authenticated or ended; `refused` ends it at once."""
        loop = asyncio.get_running_loop()
        self._around = around
        self._left: Callable[[], None] | None = left
        self._refuse_all = refused
        self._credential: dict[str, str] = {}
        """What the connection authenticated with: `fingerprint` or `authtoken`."""
        self._offered = 0
        self._terminal: Terminal | None = None
        self._terminal_opened = asyncio.Event()
        self._command: asyncio.Future[Command] = loop.create_future()
        self._admitted: asyncio.Task[None] | None = None
        self._wanted = 0
        self._failed = False
        self._tasks: set[asyncio.Task[None]] = set()

    # The connection, called by asyncssh.

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Somebody is there."""
        self._connection = conn
        address = conn.get_extra_info("peername")
        host, port = address[:2] if address else ("", 0)
        remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._session = SshSession(self._around, conn, remote, self._say, self._part)
        if self._refuse_all:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._authenticated_or_gone()
        self._session.ended(str(exc) if exc else "closed")
        for task in self._tasks:
            task.cancel()
        if not self._command.done():
            self._command.cancel()

    def begin_auth(self, username: str) -> bool:
        """Everybody has to prove who they are; the user name only tells the version of the command's flags."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are registered at the edge."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is registered; asked before the client proves that it holds it."""
        fingerprint = key.get_fingerprint()
        if await self._is_known(fingerprint=fingerprint):
            self._credential = {"fingerprint": fingerprint}
            return True
        self._connection.send_auth_banner(UNKNOWN_KEY.format(fingerprint))
        return False

    def password_auth_supported(self) -> bool:
        """An authtoken is the password."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Whether the authtoken is one of this edge."""
        if await self._is_known(authtoken=password):
            self._credential = {"authtoken": password}
            return True
        return False

    def kbdint_auth_supported(self) -> bool:
        """The same, asked for in our own words."""
        return True

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        """One question, without echo."""
        return "", "", "en", [("Authtoken: ", False)]

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        """Its answer."""
        return len(responses) == 1 and await self.validate_password(username, responses[0])

    def auth_completed(self) -> None:
        """The credential is proved: ask for the session, while the client says what it wants."""
        self._authenticated_or_gone()
        version = str(self._connection.get_extra_info("client_version") or "").removeprefix("SSH-2.0-")
        credential, self._credential = self._credential, {}
        self._admitted = self._start(
            self._session.begin(
                version[:_MAX_AGENT],
                fingerprint=credential.get("fingerprint", ""),
                authtoken=credential.get("authtoken", ""),
            )
        )
        self._start(self._check_admission())

    def session_requested(self) -> Terminal | bool:
        """A session channel; one is enough."""
        if self._terminal is not None:
            return False
        return Terminal(self)

    async def server_requested(self, listen_host: str, listen_port: int) -> Forward | bool:
        """A `-R`."""
        self._wanted += 1
        try:
            command = await self._wait_for_command()
            if command.help or self._failed:
                return False
            await self._wait_for_admission()
            forward = await self._session.forward(listen_host, listen_port, command)
        except PorticoError as error:
            self._fail(error)
            return False
        self._say(f"Forwarding  {forward.url}")
        return forward

    # The terminal.

    def terminal_opened(self, terminal: Terminal) -> None:
        """A session channel is there; its command follows."""
        self._terminal = terminal
        self._terminal_opened.set()

    def commanded(self, text: str) -> None:
        """The command has come."""
        if self._command.done():
            return
        try:
            command = parse(text)
        except PorticoError as error:
            self._command.set_exception(error)
            self._command.exception()  # it is told now; a forward that waits is told again
            self._fail(error)
            return
        self._command.set_result(command)
        if command.help:
            self._finish(HELP, 0)
        else:
            self._start(self._check_forwards())

    def left(self) -> None:
        """The person wants to end."""
        self._finish("", 0)

    def _say(self, line: str) -> None:
        if self._terminal is not None:
            self._terminal.say(line)

    # The parts of the above.

    async def _is_known(self, **credential: str) -> bool:
        self._offered += 1
        if self._offered > limits.CREDENTIALS:
            self._connection.disconnect(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "too many keys or tokens were offered"
            )
            return False
        control = self._around.link
        try:
            reply = await control.ask(link.SshCheck(id=control.next_id(), **credential))
            link.raise_refusal(reply.body)
        except PorticoError as error:
            self._around.figures.sessions_refused_total += 1
            log.info("credential refused", extra={"code": str(error.code), "reason": error.message})
            return False
        return True

    def _authenticated_or_gone(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()

    async def _wait_for_command(self) -> Command:
        """The command; none where no session channel comes (`-N`)."""
        if not self._command.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._terminal_opened.wait(), limits.NO_SESSION_SECONDS)
            if not self._terminal_opened.is_set():
                return Command()
        try:
            return await asyncio.wait_for(asyncio.shield(self._command), limits.COMMAND_SECONDS)
        except TimeoutError:
            raise PorticoError(OPTION_INVALID, "the session was opened, but no command came") from None

    async def _wait_for_admission(self) -> None:
        assert self._admitted is not None
        await asyncio.shield(self._admitted)

    async def _check_admission(self) -> None:
        """Tell why there is no session, once it is known where to tell it."""
        try:
            await self._wait_for_admission()
        except PorticoError as error:
            with contextlib.suppress(PorticoError):
                await self._wait_for_command()
            self._fail(error)

    async def _check_forwards(self) -> None:
        """Clients send their forwards before the command, so a command without one waits for nothing."""
        await asyncio.sleep(limits.NO_SESSION_SECONDS)
        if self._wanted == 0:
            self._fail(PorticoError(OPTION_INVALID, "there is nothing to forward", fix=NO_FORWARD))

    def _fail(self, error: PorticoError) -> None:
        """Say what is wrong, on the terminal if there is one, and end."""
        if self._failed:
            return
        self._failed = True
        log.info("refused", extra={"code": str(error.code), "reason": error.message})
        self._session.close(str(error))

    def _part(self, reason: str) -> None:
        """Tell the reason and end, on the terminal if there is one."""
        if self._terminal is None:
            self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, reason)
        else:
            self._finish(reason, 1)

    def _finish(self, text: str, status: int) -> None:
        """End the command; the client then closes the connection, or has it closed."""
        if self._terminal is not None:
            self._terminal.end(text, status=status)
        asyncio.get_running_loop().call_later(limits.LINGER_SECONDS, self._connection.close)

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
