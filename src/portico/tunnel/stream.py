"""One stream's state: what is queued to leave, and the flow control of both directions."""

from collections import deque
from typing import Final

from portico.tunnel.flow import Flow
from portico.tunnel.frames import FIN, SYN, data_header

JOIN_BELOW: Final = 1024
"""A payload up to this size is copied behind its header: cheaper than one more buffer in the system call."""


class StreamState:
    """Slots and arithmetic only; the session decides. Windows stay within 0 and the flow's."""

    __slots__ = (
        "closed",
        "credited_at",
        "crowded",
        "fin_received",
        "fin_sent",
        "finishing",
        "flow",
        "id",
        "kind",
        "owed",
        "pending",
        "pending_bytes",
        "plain",
        "prefix",
        "queued",
        "receive_window",
        "send_window",
        "syn_sent",
        "window",
    )

    def __init__(self, stream: int, flow: Flow) -> None:
        self.id = stream
        self.flow = flow
        self.kind: int | None = None
        self.plain = False
        """Whether incoming bytes go to the driver as they are: the kind is known and it is no heartbeat."""
        self.prefix = b""
        """The first bytes of a kind, or of a heartbeat's nonce, that have come so far."""
        self.pending: deque[bytes | memoryview] = deque()
        self.pending_bytes = 0
        self.send_window = flow.window
        self.window = flow.window
        """What the peer may have in flight; `receive_window` is what is left of it."""
        self.receive_window = flow.window
        """What the peer may still send."""
        self.credited_at = 0.0
        self.owed = 0
        """Bytes consumed and not yet credited."""
        self.queued = False
        """Whether the stream waits in the session's round for its turn to send."""
        self.crowded = False
        """Whether the driver waits for a StreamDrained."""
        self.syn_sent = True
        self.finishing = False
        self.fin_sent = False
        self.fin_received = False
        self.closed = False

    @property
    def may_send(self) -> bool:
        """Whether a frame could leave now."""
        if self.pending:
            return self.send_window > 0
        return self.finishing and not self.fin_sent

    def take_frame(self, out: list[bytes | memoryview]) -> int:
        """Append one DATA frame of at most `flow.frame` bytes to `out`; returns its payload's size."""
        pending = self.pending
        most = self.flow.frame
        room = self.send_window if self.send_window < most else most
        if len(pending) == 1 and (size := len(pending[0])) <= room:  # the hot path: one chunk, one frame
            chunk = pending.popleft()
            header = data_header(self.id, size, self._flags())
            if size <= JOIN_BELOW:
                out.append(header + chunk)
            else:
                out += (header, chunk)
        else:
            size = self._gather(out, room)
        self.send_window -= size
        self.pending_bytes -= size
        return size

    def _flags(self) -> int:
        flags = 0 if self.syn_sent else SYN
        self.syn_sent = True
        if self.finishing and not self.pending:
            flags |= FIN
            self.fin_sent = True
        return flags

    def _gather(self, out: list[bytes | memoryview], room: int) -> int:
        """Append one frame of as many chunks as there is room for, the last one cut where it has to be."""
        pending = self.pending
        slot = len(out)
        out.append(b"")
        size = 0
        while pending and size < room:
            chunk = pending.popleft()
            length = len(chunk)
            if length > room - size:
                view = memoryview(chunk)
                pending.appendleft(view[room - size :])
                chunk, length = view[: room - size], room - size
            out.append(chunk)
            size += length
        header = data_header(self.id, size, self._flags())
        if 0 < size <= JOIN_BELOW:
            out[slot:] = [b"".join((header, *out[slot + 1 :]))]
        else:
            out[slot] = header
        return size

    def consume(self, size: int) -> None:
        """Note that the application has dealt with `size` bytes, never more than have come."""
        owed, most = self.owed + size, self.window - self.receive_window
        self.owed = owed if owed < most else most

    def take_credit(self) -> int:
        """The increment to send to the peer now; 0 for none (Go ends the session on a WNDINC of 0)."""
        increment, self.owed = self.owed, 0
        self.receive_window += increment
        return increment
