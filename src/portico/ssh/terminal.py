"""What a person at the ssh client sees: the URLs, a line for each connection, or why there is nothing to see."""

import asyncssh

_LEAVE = (b"\x03", b"\x04")
"""Ctrl-C and Ctrl-D, as a terminal in raw mode sends them; without a terminal the ssh client ends by itself."""


class Conversation:
    """What a terminal tells its connection."""

    def terminal_opened(self, terminal: "Terminal") -> None:
        """A session channel is there; its command follows."""

    def commanded(self, text: str) -> None:
        """The command has come; empty where a shell was asked for."""

    def left(self) -> None:
        """The person wants to end."""


class Terminal(asyncssh.SSHServerSession[bytes]):
    """A session channel. Lines that nobody reads are dropped, so that a stopped terminal holds up nobody."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._command = ""
        self._newline = "\n"
        self._stopped = False

    def say(self, line: str) -> None:
        """Show a line."""
        if self._channel is not None and not self._stopped and not self._channel.is_closing():
            self._channel.write(self._encode(line))

    def end(self, text: str, *, status: int) -> None:
        """Show the last words, on standard error where `status` tells of a failure, and end the command with it."""
        channel, self._channel = self._channel, None
        if channel is None or channel.is_closing():
            return
        if text:
            channel.write(self._encode(text), asyncssh.EXTENDED_DATA_STDERR if status else None)
        channel.exit(status)

    def _encode(self, text: str) -> bytes:
        return (text.replace("\n", self._newline) + self._newline).encode()

    # Called by asyncssh.

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan
        self._conversation.terminal_opened(self)

    def pty_requested(self, *_: object) -> bool:
        """A terminal in raw mode needs the carriage return too."""
        self._newline = "\r\n"
        return True

    def shell_requested(self) -> bool:
        """No command: the port of each forward says the protocol."""
        return True

    def exec_requested(self, command: str) -> bool:
        """The command, read once the client knows that it was taken."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """There is no file transfer here; clients that get no other answer go on waiting."""
        self.end("only reverse forwards are offered here: ssh -R …", status=1)
        return False

    def session_started(self) -> None:
        """The client has been told so."""
        self._conversation.commanded(self._command)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Keys."""
        if self._newline == "\r\n" and any(key in data for key in _LEAVE):
            self._conversation.left()

    def eof_received(self) -> bool:
        """Standard input has ended, as with `< /dev/null`; that means nothing."""
        return True

    def signal_received(self, signal: str) -> None:
        """Any signal that a client forwards is a wish to end."""
        self._conversation.left()

    def break_received(self, msec: int) -> bool:
        """So is a break."""
        self._conversation.left()
        return True

    def pause_writing(self) -> None:
        """The terminal is stopped (Ctrl-S), or slow."""
        self._stopped = True

    def resume_writing(self) -> None:
        """It goes on."""
        self._stopped = False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed."""
        self._channel = None
