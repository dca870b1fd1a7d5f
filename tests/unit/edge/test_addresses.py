import socket
from collections.abc import Iterator

import pytest

from portico.edge.addresses import can_listen, resolve_addresses
from portico.model.edge import SocketAddress
from portico.model.errors import ADDRESS_IN_USE, SETTING_INVALID, PorticoError


@pytest.fixture
def taken() -> Iterator[SocketAddress]:
    """An address where a program listens the way Envoy does: ready to share it."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield SocketAddress("127.0.0.1", listener.getsockname()[1])


def test_port_0_becomes_a_free_port_and_no_two_get_the_same() -> None:
    wanted = {f"--addr-{n}": SocketAddress("127.0.0.1", 0) for n in range(20)}
    found = resolve_addresses(wanted)
    assert len({address.port for address in found.values()}) == 20
    assert all(can_listen(address) for address in found.values())


def test_an_address_in_use_is_named_with_its_flag(taken: SocketAddress) -> None:
    assert not can_listen(taken)
    with pytest.raises(PorticoError) as caught:
        resolve_addresses({"--https-addr": taken})
    assert caught.value.code is ADDRESS_IN_USE
    assert caught.value.message == f"{taken} (--https-addr) is in use by another program"


def test_every_address_conflicts_with_one_of_them(taken: SocketAddress) -> None:
    assert not can_listen(SocketAddress("0.0.0.0", taken.port))


def test_two_settings_cannot_have_one_address() -> None:
    free = resolve_addresses({"--a": SocketAddress("127.0.0.1", 0)})["--a"]
    with pytest.raises(PorticoError, match=r"\(--http-addr\) is in use"):
        resolve_addresses({"--https-addr": free, "--http-addr": free})


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(PorticoError) as caught:
        resolve_addresses({"--https-addr": SocketAddress("192.0.2.1", 0)})
    assert caught.value.code is SETTING_INVALID
    assert "192.0.2.1:0 (--https-addr)" in caught.value.message
