"""The PROXY protocol, versions 1 and 2: who really connected, told in front of a connection's bytes.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from portico.tunnel.frames import ErrorCode, ProtocolError

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_V1: Final = 107
_V1_START: Final = b"PROXY "
_HEAD: Final = struct.Struct(">12sBBH")
_PORTS: Final = struct.Struct(">HH")
_TLV: Final = struct.Struct(">BH")
_VERSION_2: Final = 0x20
_PROXY: Final = 1
_STREAM_4: Final = 0x11
_STREAM_6: Final = 0x21
_ADDRESS_SIZES: Final = {_STREAM_4: 4, _STREAM_6: 16}

Peer = tuple[str, int]


class ProxyInfo(NamedTuple):
    """Both ends of the connection as its first proxy saw it; None where it did not say (health checks)."""

    source: Peer | None = None
    destination: Peer | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()
    """(type, value) of version 2's extensions, in order."""

    def encode(self, version: int) -> bytes:
        """The header in version 1 (without the extensions) or 2."""
        return _encode_v1(self) if version == 1 else _encode_v2(self)

    def client_addr(self) -> str:
        """The source as `ip:port`, IPv6 in brackets; empty if unknown."""
        if self.source is None:
            return ""
        host, port = self.source
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pair(info: ProxyInfo) -> tuple[int, bytes, bytes, bytes] | None:
    """Family, both addresses and ports, packed; a pair of mixed families becomes IPv6."""
    if info.source is None or info.destination is None:
        return None
    hosts = [ipaddress.ip_address(host) for host, _ in (info.source, info.destination)]
    ports = _PORTS.pack(info.source[1], info.destination[1])
    if all(host.version == 4 for host in hosts):
        return _STREAM_4, hosts[0].packed, hosts[1].packed, ports
    wide = [host.packed if host.version == 6 else bytes(10) + b"\xff\xff" + host.packed for host in hosts]
    return _STREAM_6, wide[0], wide[1], ports


def _encode_v1(info: ProxyInfo) -> bytes:
    pair = _pair(info)
    if pair is None:
        return b"PROXY UNKNOWN\r\n"
    family, source, destination, ports = pair
    name = "TCP4" if family == _STREAM_4 else "TCP6"
    from_port, to_port = _PORTS.unpack(ports)
    hosts = f"{ipaddress.ip_address(source)} {ipaddress.ip_address(destination)}"
    return f"PROXY {name} {hosts} {from_port} {to_port}\r\n".encode()


def _encode_v2(info: ProxyInfo) -> bytes:
    tlvs = b"".join(_TLV.pack(kind, len(value)) + value for kind, value in info.tlvs)
    pair = _pair(info)
    if pair is None:
        return _HEAD.pack(SIGNATURE, _VERSION_2 | _PROXY, 0, len(tlvs)) + tlvs
    family, *parts = pair
    body = b"".join(parts) + tlvs
    return _HEAD.pack(SIGNATURE, _VERSION_2 | _PROXY, family, len(body)) + body


class ProxyReader:
    """Reads a header of either version in any split; what follows it is `rest`. Holds at most 64 KiB."""

    __slots__ = ("_buffer", "local", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self.rest = b""
        self.local = False
        """Whether the proxy itself connects (command LOCAL), as for a check."""

    def feed(self, data: bytes) -> ProxyInfo | None:
        """Take bytes; returns the header once it is whole. Raises ProtocolError for anything else."""
        self._buffer += data
        head = self._buffer[: len(SIGNATURE)]
        if SIGNATURE.startswith(head):
            return self._version_2()
        if _V1_START.startswith(head[: len(_V1_START)]):
            return self._version_1()
        raise ProtocolError(ErrorCode.PROTOCOL, "no PROXY header")

    def _version_1(self) -> ProxyInfo | None:
        end = self._buffer.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(self._buffer) >= MAX_V1:
                raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY line without an end")
            return None
        self.rest = self._buffer[end + 2 :]
        return _parse_line(self._buffer[:end])

    def _version_2(self) -> ProxyInfo | None:
        if len(self._buffer) < _HEAD.size:
            return None
        _, version_command, family, length = _HEAD.unpack_from(self._buffer)
        if version_command & 0xF0 != _VERSION_2 or version_command & 0x0F > _PROXY:
            raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY header of an unknown version or command")
        end = _HEAD.size + length
        if len(self._buffer) < end:
            return None
        self.rest = self._buffer[end:]
        body = self._buffer[_HEAD.size : end]
        self.local = version_command & 0x0F != _PROXY
        return ProxyInfo() if self.local else _parse_body(family, body)


def _parse_line(line: bytes) -> ProxyInfo:
    words = line.decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyInfo()
    try:
        _, family, source, destination, from_port, to_port = words
        hosts = [ipaddress.ip_address(source), ipaddress.ip_address(destination)]
        ports = [int(from_port), int(to_port)]
    except ValueError:
        raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY line that cannot be read") from None
    version = {"TCP4": 4, "TCP6": 6}.get(family)
    if any(host.version != version for host in hosts) or not all(0 <= port <= 0xFFFF for port in ports):
        raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY line with impossible addresses")
    return ProxyInfo((str(hosts[0]), ports[0]), (str(hosts[1]), ports[1]))


def _parse_body(family: int, body: bytes) -> ProxyInfo:
    size = _ADDRESS_SIZES.get(family)
    if size is None:
        # AF_UNSPEC carries only extensions; other families' addresses (Unix, datagrams) mean nothing to us.
        return ProxyInfo(tlvs=tuple(_tlvs(body))) if family == 0 else ProxyInfo()
    end = 2 * size + _PORTS.size
    if len(body) < end:
        raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY header without its addresses")
    hosts = [str(ipaddress.ip_address(body[start : start + size])) for start in (0, size)]
    ports = _PORTS.unpack_from(body, 2 * size)
    return ProxyInfo((hosts[0], ports[0]), (hosts[1], ports[1]), tuple(_tlvs(body[end:])))


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        if len(data) < _TLV.size:
            raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY extension that is cut off")
        kind, length = _TLV.unpack_from(data)
        if len(data) < _TLV.size + length:
            raise ProtocolError(ErrorCode.PROTOCOL, "a PROXY extension that is cut off")
        yield kind, data[_TLV.size : _TLV.size + length]
        data = data[_TLV.size + length :]
