import asyncio
import socket

from portico.relay.send_buffer import BYTES, widen


def taken(transport: asyncio.WriteTransport) -> int:
    """Bytes that the kernel takes before the transport has to keep some."""
    size = 0
    while transport.get_write_buffer_size() == 0:
        transport.write(bytes(0x4000))
        size += 0x4000
    return size


async def connected() -> tuple[asyncio.Transport, socket.socket]:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    return transport, theirs


async def test_a_wide_socket_takes_a_whole_read_at_once() -> None:
    transport, theirs = await connected()
    widen(transport)
    assert taken(transport) > BYTES
    transport.abort()
    theirs.close()


async def test_what_is_wide_already_stays_so() -> None:
    transport, theirs = await connected()
    kernel: socket.socket = transport.get_extra_info("socket")
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BYTES)
    before = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    widen(transport)
    assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
    transport.abort()
    theirs.close()


def test_without_a_socket_nothing_happens() -> None:
    widen(asyncio.BaseTransport())
