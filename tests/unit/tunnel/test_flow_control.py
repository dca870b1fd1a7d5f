"""Two sessions talk while a scheduler decides what happens next: bytes are exact, windows stay in bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from portico.tunnel.events import Data, Event, SessionFailed, StreamDrained, StreamFinished, StreamOpened, StreamReset
from portico.tunnel.flow import NARROW, WIDE, Flow
from portico.tunnel.heartbeat import Heartbeat
from portico.tunnel.session import Session


class Side:
    """A session with what its application has sent, received and not consumed yet."""

    def __init__(self, client: bool, flow: Flow, *, prompt: bool) -> None:
        self.session = Session(client=client, now=0.0)
        self.session.flow = flow
        self.session.prompt_ack = prompt
        self.session.heartbeat = Heartbeat(10, 15, 0.0, expect_beats=False)
        self.session.heartbeat.shortest = 1.0  # time stands still, so every window seems to hold its stream up
        self.sent: dict[int, bytearray] = {}
        self.received: dict[int, bytearray] = {}
        self.unread: dict[int, int] = {}
        self.finished: set[int] = set()
        self.drained: list[int] = []
        self.wire = bytearray()

    def open(self) -> None:
        stream = self.session.open(3, b"first")
        self.sent[stream] = bytearray(b"first")
        self.received[stream] = bytearray()

    def pick(self, number: int) -> int | None:
        return sorted(self.sent)[number % len(self.sent)] if self.sent else None

    def write(self, number: int, size: int) -> None:
        stream = self.pick(number)
        if stream is not None and self.session.windows(stream) is not None:
            data = bytes((len(self.sent[stream]) + i) * 7 % 251 for i in range(size % 97)) * (size // 97 + 1)
            self.session.send(stream, data)
            self.sent[stream] += data

    def take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case StreamOpened(stream):
                    self.sent[stream], self.received[stream] = bytearray(), bytearray()
                case Data(stream, data):
                    self.received[stream] += data
                    self.unread[stream] = self.unread.get(stream, 0) + len(data)
                case StreamFinished(stream):
                    self.finished.add(stream)
                case StreamDrained(stream):
                    self.drained.append(stream)
                case SessionFailed() | StreamReset():
                    raise AssertionError(event)

    def consume(self, number: int, size: int) -> None:
        stream = self.pick(number)
        if stream is not None and (unread := min(size, self.unread.get(stream, 0))):
            self.unread[stream] -= unread
            self.session.credit(stream, unread)

    def flush(self, budget: int) -> None:
        self.wire += b"".join(self.session.data_to_send(0.0, budget))
        notices, self.session.notices = self.session.notices, []
        self.take(notices)

    def carry(self, other: "Side", size: int) -> None:
        chunk = bytes(self.wire[:size])
        del self.wire[:size]
        other.take(other.session.receive(chunk, 0.0))

    def check(self) -> None:
        for stream in self.sent:
            windows = self.session.windows(stream)
            if windows is not None:
                assert all(0 <= window <= self.session.flow.widest for window in windows)
            assert self.unread.get(stream, 0) <= self.session.flow.widest


steps = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["open", "write", "write", "write", "consume", "flush", "flush", "carry", "carry"]),
        st.integers(0, 5),
        st.integers(1, 1_500_000),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from([NARROW, WIDE]), st.booleans())
def test_bytes_are_exact_and_windows_in_bounds_whatever_happens_when(
    schedule: list[tuple[bool, str, int, int]], flow: Flow, prompt: bool
) -> None:
    sides = Side(True, flow, prompt=prompt), Side(False, flow, prompt=False)
    for first, step, number, size in schedule:
        side, other = sides if first else sides[::-1]
        match step:
            case "open":
                side.open()
            case "write":
                side.write(number, size)
            case "consume":
                side.consume(number, size)
            case "flush":
                side.flush(size)
            case "carry":
                side.carry(other, size)
        side.check()
        other.check()
    settle(sides)
    for side, other in (sides, sides[::-1]):
        assert side.received == other.sent
        assert side.finished == set(other.sent)
        assert side.session.stream_count == 0


def settle(sides: tuple[Side, Side]) -> None:
    """Finish every stream and let everything through; a deadlock shows as bytes that never arrive."""
    for _ in range(2):  # a stream may be known to its opener alone when the first round begins
        for side in sides:
            for stream in side.sent:
                side.session.finish(stream)
        moved = True
        while moved:
            moved = False
            for side, other in (sides, sides[::-1]):
                for number, _ in enumerate(side.sent):
                    side.consume(number, WIDE.window)
                side.flush(1 << 30)
                moved = moved or bool(side.wire)
                side.carry(other, len(side.wire))
                side.check()
