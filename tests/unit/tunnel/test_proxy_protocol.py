import contextlib
import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.tunnel.frames import ProtocolError
from portico.tunnel.proxy_protocol import SIGNATURE, ProxyInfo, ProxyReader

ports = st.integers(0, 0xFFFF)
v4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
v6 = st.tuples(st.ip_addresses(v=6).filter(lambda ip: ip.scope_id is None).map(str), ports)
tlvs = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=30)), max_size=4).map(tuple)
pairs = st.tuples(v4, v4) | st.tuples(v6, v6)


def read(data: bytes, places: list[int]) -> tuple[ProxyInfo | None, bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    reader = ProxyReader()
    for start, end in itertools.pairwise(edges):
        info = reader.feed(data[start:end])
        if info is not None:
            return info, reader.rest + data[end:]
    return None, b""


@given(pairs, tlvs, st.sampled_from([1, 2]), st.lists(st.integers(0, 500)), st.binary(max_size=20))
def test_what_is_written_is_read_in_any_split(
    pair: tuple, extensions: tuple, version: int, places: list[int], rest: bytes
) -> None:
    info = ProxyInfo(*pair, extensions if version == 2 else ())
    assert read(info.encode(version) + rest, places) == (info, rest)


@given(tlvs, st.lists(st.integers(0, 500)))
def test_an_unknown_source_stays_unknown(extensions: tuple, places: list[int]) -> None:
    assert read(ProxyInfo().encode(1), places)[0] == ProxyInfo()
    info = ProxyInfo(tlvs=extensions)
    assert read(info.encode(2), places)[0] == info


@given(
    st.binary(max_size=40) | st.binary(max_size=40).map(lambda b: SIGNATURE + b) | st.binary().map(b"PROXY ".__add__)
)
def test_garbage_is_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        ProxyReader().feed(data)


def test_both_versions_are_what_the_specification_shows() -> None:
    info = ProxyInfo(("192.0.2.1", 56324), ("198.51.100.2", 443))
    assert info.encode(1) == b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
    assert info.encode(2) == SIGNATURE + bytes.fromhex("2111000c c0000201 c6336402 dc04 01bb")
    assert info.client_addr() == "192.0.2.1:56324"
    assert ProxyInfo(("::1", 80)).client_addr() == "[::1]:80"
    assert ProxyInfo().client_addr() == ""


def test_mixed_families_become_ipv6() -> None:
    info = ProxyInfo(("192.0.2.1", 1), ("::1", 2))
    mapped = str(ipaddress.ip_address("::ffff:192.0.2.1"))
    assert read(info.encode(2), [])[0] == ProxyInfo((mapped, 1), ("::1", 2))


def test_local_connections_and_unix_sockets_have_no_addresses() -> None:
    assert read(SIGNATURE + b"\x20\0\0\0", [])[0] == ProxyInfo()
    assert read(SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), [])[0] == ProxyInfo()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        SIGNATURE + b"\x11\x11\0\0",
        SIGNATURE + b"\x22\x11\0\0",
        SIGNATURE + b"\x21\x11\0\4abcd",
        SIGNATURE + b"\x21\0\0\3\1\0\5",
    ],
)
def test_a_broken_header_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ProxyReader().feed(data)
