"""The PROXY protocol (haproxy.org/download/3.0/doc/proxy-protocol.txt): read version 2, write versions 1 and 2."""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_HEADER: Final = 16 + 4096
"""Bytes of a header with its TLVs; Envoy's are below 200."""
_PREFIX: Final = struct.Struct(">12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_PACKED: Final = {_TCP4: struct.Struct(">4s4sHH"), _TCP6: struct.Struct(">16s16sHH")}


class ProxyHeaderError(Exception):
    """The connection does not begin with a PROXY protocol header of version 2."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An IP address and port at one end of a connection."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


UNKNOWN: Final = Peer("0.0.0.0", 0)  # noqa: S104 - the address that says "none", nothing listens on it


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who connected, to what; both `UNKNOWN` where the sender speaks for itself (LOCAL) or by no IP."""

    source: Peer
    destination: Peer


def parse(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """The header that `data` begins with and its length, or None while it is incomplete. Raises ProxyHeaderError."""
    if not SIGNATURE.startswith(bytes(data[: len(SIGNATURE)])):
        raise ProxyHeaderError("no PROXY protocol signature")
    if len(data) < _PREFIX.size:
        return None
    _, command, family, length = _PREFIX.unpack_from(data)
    end = _PREFIX.size + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command {command:#x} are unknown")
    if end > MAX_HEADER:
        raise ProxyHeaderError(f"a header of {end} bytes is longer than {MAX_HEADER}")
    if len(data) < end:
        return None
    packed = _PACKED.get(family)
    if command == _LOCAL or packed is None:
        return ProxyHeader(UNKNOWN, UNKNOWN), end
    if length < packed.size:
        raise ProxyHeaderError("the addresses are cut short")
    source, destination, source_port, destination_port = packed.unpack_from(data, _PREFIX.size)
    return ProxyHeader(
        Peer(str(_address(source)), source_port), Peer(str(_address(destination)), destination_port)
    ), end


def _address(raw: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(raw)
    # A dual-stack listener of Envoy tells IPv4 visitors as ::ffff:a.b.c.d.
    return getattr(address, "ipv4_mapped", None) or address


def encode(version: int, header: ProxyHeader) -> bytes:
    """The header in version 1 (text) or 2 (binary), for an upstream."""
    source, destination = ipaddress.ip_address(header.source.host), ipaddress.ip_address(header.destination.host)
    if header.source == UNKNOWN:
        return b"PROXY UNKNOWN\r\n" if version == 1 else _PREFIX.pack(SIGNATURE, _LOCAL, 0, 0)
    if source.version != destination.version:
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    ports = header.source.port, header.destination.port
    if version == 1:
        return f"PROXY TCP{source.version} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    family = _TCP4 if source.version == 4 else _TCP6
    body = _PACKED[family].pack(source.packed, destination.packed, *ports)
    return _PREFIX.pack(SIGNATURE, _PROXY, family, len(body)) + body


def _as_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    return address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")
