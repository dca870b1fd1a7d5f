"""One SSH connection at its borders: guessing, crowds, silence, control's commands, and a control that is away."""

import asyncio
import gc
import socket

import asyncssh
import pytest
from asyncssh.connection import SSHServerConnection

from portico.model.errors import SSH_CREDENTIAL_UNKNOWN, TOO_MANY_SESSIONS, PorticoError
from portico.relay import link
from portico.ssh import limits

from .conftest import Door


async def nobody(host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
    """The upstream of forwards that no visitor comes to."""
    raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused\x1b[2J")


async def forwarded(connection: asyncssh.SSHClientConnection, host: str = "", port: int = 0) -> asyncssh.SSHListener:
    listener = await connection.create_server(nobody, host, port)
    assert listener is not None
    return listener


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NO_SESSION_SECONDS", 0.05)


async def test_a_forward_without_a_terminal(door: Door) -> None:
    async with door.connect() as connection:
        listener = await forwarded(connection)
        asked = await door.control.wait_for(link.SshForward)
        assert (asked.host, asked.port, asked.body) == ("", 0, {})
        assert listener.get_port() > 0
        admitted = await door.control.wait_for(link.SshAuthenticate)
        assert admitted.fingerprint == door.key.get_fingerprint()
        assert admitted.user_agent.startswith("AsyncSSH")
    ended = await door.control.wait_for(link.SessionEnded)
    assert ended.session == admitted.session


async def test_a_token_is_asked_for_when_the_key_is_unknown(door: Door) -> None:
    refusal = PorticoError(SSH_CREDENTIAL_UNKNOWN, "unknown")
    door.control.refuse_ssh = {link.SshCheck: refusal}
    with pytest.raises(asyncssh.PermissionDenied):
        await door.connect()
    door.control.refuse_ssh = {}
    async with door.connect(client_keys=None, password="pt_secret"):
        asked = await door.control.wait_for(link.SshAuthenticate)
        assert (asked.fingerprint, asked.authtoken) == ("", "pt_secret")


async def test_guessing_ends(door: Door) -> None:
    door.control.refuse_ssh = {link.SshCheck: PorticoError(SSH_CREDENTIAL_UNKNOWN, "unknown")}
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(limits.CREDENTIALS + 5)]
    with pytest.raises(asyncssh.DisconnectError, match="too many keys or tokens"):
        await door.connect(client_keys=keys)
    assert len(door.control.all(link.SshCheck)) == limits.CREDENTIALS


async def test_a_session_that_is_refused_is_told_why(door: Door) -> None:
    door.control.refuse_ssh = {link.SshAuthenticate: PorticoError(TOO_MANY_SESSIONS, "too many of them")}
    async with door.connect() as connection:
        done = await connection.run("http", check=False)
        assert done.exit_status == 1
        assert str(done.stderr).startswith("too many of them (PORTICO_108).")
    # Without a terminal the same is the reason of the disconnect (the features show OpenSSH's view of it).
    async with door.connect() as connection:
        await connection.wait_closed()


async def test_crowds_wait_outside(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNAUTHENTICATED", 1)
    with socket.create_connection(("127.0.0.1", door.port)):
        await asyncio.sleep(0.1)
        with pytest.raises((asyncssh.Error, OSError)):
            await door.connect()
    async with asyncio.timeout(30):
        while (await door.control.figures())["sessions_unauthenticated"]:
            await asyncio.sleep(0.01)
    async with door.connect() as connection:
        assert await forwarded(connection)
    assert (await door.control.figures())["sessions_refused_total"] == 1


async def test_a_client_that_leaves_keepalives_unanswered_is_reaped(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(_: SSHServerConnection) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(SSHServerConnection, "_make_keepalive_request", deaf)
    async with door.connect() as connection:
        await forwarded(connection)
        (server,) = server_ends()
        server.set_keepalive(0.05, 2)
        ended = await door.control.wait_for(link.SessionEnded)
        assert "not responding" in ended.reason


def server_ends() -> list[SSHServerConnection]:
    """The server's ends of all connections of this process."""
    return [one for one in gc.get_objects() if isinstance(one, SSHServerConnection) and not one.is_closed()]


async def test_forwards_are_limited(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORWARDS", 2)
    async with door.connect() as connection:
        ports = {(await forwarded(connection)).get_port() for _ in range(2)}
        assert len(ports) == 2
        with pytest.raises(asyncssh.ChannelListenError):
            await forwarded(connection)


async def test_control_is_told_again_what_is_held(door: Door) -> None:
    async with door.connect() as connection:
        await forwarded(connection)
        await door.control.stop()
        waiting = asyncio.create_task(forwarded(connection))
        await door.control.start()
        hello = await door.control.wait_for(link.Hello, 2)
        assert len(hello.sessions) == len(hello.binds) == 1
        assert await waiting


async def test_an_upstream_s_refusal_is_kept_printable(door: Door) -> None:
    async with door.connect() as connection, connection.create_process("tcp") as process:
        await forwarded(connection)
        assert (await process.stdout.readline()).startswith("Forwarding  tcp://")
        bind = await door.control.wait_for(link.SshForward)
        reader, writer = await asyncio.open_unix_connection(bind.address)
        assert await reader.read() == b""
        writer.close()
        lines = [await process.stdout.readline() for _ in range(2)]
        assert lines[1].endswith("your upstream was not reached: Connection refused[2J\n")


async def test_commands_of_control(door: Door) -> None:
    async with door.connect() as connection, connection.create_process("tcp") as process:
        await forwarded(connection)
        await process.stdout.readline()
        lease = (await door.control.wait_for(link.SshForward)).session
        door.control.send(link.AgentCommand(id=1, session=lease, command="update", body={}))
        assert (await door.control.wait_for(link.AgentAnswer)).error == "An SSH client cannot update."
        door.control.send(link.StopBind(session=lease, bind="bind1", message="moved", error_code=""))
        assert (await process.stdout.readline()).endswith("ended by the edge: moved\n")
        door.control.send(link.CloseSession(session=lease, reason="for a reason"))
        assert await process.stderr.readline() == "for a reason\n"
        assert (await process.wait()).exit_status == 1


async def test_control_c_in_a_terminal(door: Door) -> None:
    async with door.connect() as connection, connection.create_process("tcp", term_type="xterm") as process:
        await forwarded(connection)
        assert (await process.stdout.readline()).endswith("\r\n")
        process.stdin.write("x\x03")
        assert (await process.wait()).exit_status == 0


async def test_visitors_are_limited(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VISITORS", 0)
    door.control.options = {"http": 1}
    async with door.connect() as connection:
        await forwarded(connection)
        bind = await door.control.wait_for(link.SshForward)
        reader, writer = await asyncio.open_unix_connection(bind.address)
        writer.write(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
    assert (await door.control.figures())["streams_refused_total"] == 1
