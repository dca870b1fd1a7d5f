"""PROXY protocol headers: what HAProxy's specification writes is read, what it forbids is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.relay import proxy_protocol
from portico.relay.proxy_protocol import UNKNOWN, Peer, ProxyHeader, ProxyHeaderError

IPV4 = ProxyHeader(Peer("192.0.2.7", 4711), Peer("198.51.100.1", 443))
IPV6 = ProxyHeader(Peer("2001:db8::7", 4711), Peer("2001:db8::1", 443))


@pytest.mark.parametrize("header", [IPV4, IPV6])
def test_what_is_written_in_version_2_is_read_back(header: ProxyHeader) -> None:
    raw = proxy_protocol.encode(2, header)
    assert proxy_protocol.parse(raw + b"rest") == (header, len(raw))


def test_version_1_is_the_text_of_the_specification() -> None:
    assert proxy_protocol.encode(1, IPV4) == b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
    assert proxy_protocol.encode(1, IPV6) == b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n"


def test_an_unknown_visitor_is_written_as_unknown() -> None:
    header = ProxyHeader(UNKNOWN, UNKNOWN)
    assert proxy_protocol.encode(1, header) == b"PROXY UNKNOWN\r\n"
    assert proxy_protocol.parse(proxy_protocol.encode(2, header)) == (header, 16)


def test_addresses_of_two_families_are_written_as_ipv6() -> None:
    header = ProxyHeader(Peer("192.0.2.7", 1), Peer("2001:db8::1", 2))
    assert proxy_protocol.encode(1, header) == b"PROXY TCP6 ::ffff:c000:207 2001:db8::1 1 2\r\n"
    read = proxy_protocol.parse(proxy_protocol.encode(2, header))
    assert read is not None
    assert read[0] == header


def test_tlvs_belong_to_the_header() -> None:
    raw = bytearray(proxy_protocol.encode(2, IPV4))
    raw[14:16] = (12 + 5).to_bytes(2, "big")
    assert proxy_protocol.parse(raw + b"\xea\0\2ab" + b"GET /") == (IPV4, 33)


@given(st.integers(0, 27))
def test_every_incomplete_header_waits(length: int) -> None:
    assert proxy_protocol.parse(proxy_protocol.encode(2, IPV4)[:length]) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        proxy_protocol.SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        proxy_protocol.SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
        proxy_protocol.SIGNATURE + b"\x21\x11\xff\xff",
    ],
    ids=["http", "version-1", "version-3", "short-addresses", "too-long"],
)
def test_what_is_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        proxy_protocol.parse(raw)


@given(st.binary(max_size=64), st.booleans())
def test_garbage_is_never_another_exception(tail: bytes, signed: bool) -> None:
    with contextlib.suppress(ProxyHeaderError):
        proxy_protocol.parse((proxy_protocol.SIGNATURE if signed else b"") + tail)


def test_a_peer_with_an_ipv6_address_is_shown_in_brackets() -> None:
    assert str(IPV6.source) == "[2001:db8::7]:4711"
