"""Checksums and hashes, as hex or base64."""

import hashlib
import zlib
from collections.abc import Callable
from functools import cache, partial
from itertools import chain
from typing import Final

from portico.policy.functions.encodings import to_base64
from portico.policy.functions.function import Function

_MASK: Final = (1 << 64) - 1
_CRC64_ISO: Final = 0xD800000000000000
"""The reversed polynomial of ISO 3309."""
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
"""The primes of XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)."""


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


@cache
def _crc64_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc >> 1) ^ (_CRC64_ISO if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


def _crc64(data: bytes) -> bytes:
    table, crc = _crc64_table(), _MASK
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return (crc ^ _MASK).to_bytes(8, "big")


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _xxhash64(data: bytes) -> bytes:
    rest, lanes = data, [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
    found = _P5
    if len(data) >= 32:
        while len(rest) >= 32:
            lanes = [_round(lane, int.from_bytes(rest[8 * i : 8 * i + 8], "little")) for i, lane in enumerate(lanes)]
            rest = rest[32:]
        found = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return _xxhash64_end((found + len(data)) & _MASK, rest).to_bytes(8, "big")


def _xxhash64_end(found: int, rest: bytes) -> int:
    while len(rest) >= 8:
        found = (_rotated(found ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * _P1 + _P4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        found = (_rotated(found ^ (int.from_bytes(rest[:4], "little") * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        rest = rest[4:]
    for byte in rest:
        found = _rotated(found ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    for shift, prime in ((33, _P2), (29, _P3), (32, 1)):
        found = (found ^ (found >> shift)) * prime & _MASK
    return found


def _digest(name: str, data: bytes) -> bytes:
    return hashlib.new(name, data, usedforsecurity=False).digest()


def _written(compute: Callable[[bytes], bytes], text: str, form: str = "hex") -> str:
    if form not in ("hex", "base64"):
        raise ValueError("the format of a hash is hex or base64")
    digest = compute(text.encode())
    return digest.hex() if form == "hex" else to_base64(digest)


def _overloads(name: str, compute: Callable[[bytes], bytes]) -> list[Function]:
    write, meaning = partial(_written, compute), f"{name} as hex, or as 'base64'"
    return [
        Function(full, parameters, "string", write, meaning, method)
        for full, method in ((f"hash.{name}", False), (name, True))
        for parameters in (("string",), ("string", "string"))
    ]


_KINDS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "crc32": _crc32,
    "crc64": _crc64,
    "xxhash64": _xxhash64,
    **{name: partial(_digest, name) for name in ("md5", "sha1", "sha256", "sha512")},
}
FUNCTIONS: Final = tuple(chain.from_iterable(_overloads(name, compute) for name, compute in _KINDS.items()))
