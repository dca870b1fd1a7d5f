import asyncio
from collections.abc import Callable

import pytest

from kit.tunnel_pair import Pair, Recorder
from portico.tunnel.frames import ErrorCode, ProtocolError
from portico.tunnel.handler import StreamHandler
from portico.tunnel.messages import StreamKind
from portico.tunnel.rpc import Answering, request, tell
from portico.tunnel.transport import Stream

PairMaker = Callable[[], Pair]


class Frames(Recorder):
    """Keeps the bytes and how many deliveries they came in."""

    deliveries = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.deliveries += 1


async def echo(body: dict[str, object]) -> dict[str, object]:
    await asyncio.sleep(0)
    return {"Echo": body}


async def test_a_request_is_answered(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda stream: Answering(stream, echo)
    large = {"Certificate": "x" * 600_000}
    assert await request(pair.agent, StreamKind.BIND, large, 30) == {"Echo": large}
    assert pair.agent.streams == {}


async def test_the_answer_and_fin_come_without_waiting_for_the_askers_fin(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda stream: Answering(stream, echo)
    asker = Frames()
    stream = pair.agent.open(StreamKind.AUTH, asker, b'{"a"')
    stream.write(b":1}\n")
    async with asyncio.timeout(30):
        await asker.eof.wait()
    assert asker.data == b'{"Echo":{"a":1}}'
    assert asker.deliveries == 1
    stream.write_eof()
    assert await asker.lost is None


async def refuse(body: dict[str, object]) -> None:
    raise ZeroDivisionError


async def test_a_failing_answer_resets_the_stream(make_pair: PairMaker, caplog: pytest.LogCaptureFixture) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda stream: Answering(stream, refuse)
    with pytest.raises(ProtocolError) as caught:
        await request(pair.agent, StreamKind.BIND, {"Token": "secret"}, 30)
    assert caught.value.code == ErrorCode.INTERNAL
    assert "secret" not in caplog.text


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"a":}'])
async def test_a_request_that_is_no_object_is_reset(make_pair: PairMaker, body: bytes) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda stream: Answering(stream, echo)
    with pytest.raises(ProtocolError):
        await request(pair.agent, StreamKind.BIND, body, 30)


async def test_an_early_end_is_reset(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = lambda stream: Answering(stream, echo)
    asker = Recorder()
    pair.agent.open(StreamKind.BIND, asker, b'{"a"').write_eof()
    assert await asker.lost == ErrorCode.PROTOCOL


class Silent(StreamHandler):
    pass


async def test_no_answer_is_a_timeout_and_leaves_no_stream(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    seen: list[Stream] = []

    def accept(stream: Stream) -> StreamHandler:
        seen.append(stream)
        return Silent()

    pair.on_stream = accept
    with pytest.raises(TimeoutError):
        await request(pair.relay, StreamKind.STOP, {}, 0.05)
    async with asyncio.timeout(30):
        while pair.agent.streams or pair.relay.streams:
            await asyncio.sleep(0.002)
    assert [stream.kind for stream in seen] == [StreamKind.STOP]


class Mute(StreamHandler):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def data_received(self, data: bytes) -> None:
        self._stream.write_eof()


async def test_an_end_without_an_answer_is_an_error(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    pair.on_stream = Mute
    with pytest.raises(ProtocolError, match="no answer"):
        await request(pair.relay, StreamKind.STOP, {}, 30)


async def test_what_has_no_answer_is_told(make_pair: PairMaker) -> None:
    pair = make_pair()
    await pair.start()
    recorder = Recorder()
    pair.on_stream = lambda _: recorder
    tell(pair.relay, StreamKind.STOP_TUNNEL, {"Id": "a"})
    async with asyncio.timeout(30):
        await recorder.eof.wait()
    assert recorder.data == b'{"Id":"a"}'
