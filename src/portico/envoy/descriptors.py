"""The message types of exactly the Envoy that runs, read out of its binary.

The protobuf compiler for C++ embeds each file's serialized `FileDescriptorProto` in the program, so the binary itself
is the one source of its API that can be neither older nor newer than it. The published Python packages lag behind and
lack fields that the configuration needs.
"""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from portico.model.errors import ENVOY_MISSING, PorticoError

log = logging.getLogger(__name__)

_NEEDED: Final = "envoy/service/discovery/v3/discovery.proto"
# Field 1 of FileDescriptorProto is the file's name: tag 0x0a, length (one byte), name.
_START: Final = re.compile(rb"\x0a([\x07-\x7f])(?=([!-~]{1,121}\.proto))", re.DOTALL)
_LAST_FIELD: Final = 14  # FileDescriptorProto.edition
_LENGTH_DELIMITED: Final = 2
_KEEP: Final = 3
"""Caches of other Envoys that stay on disk, for going back and forth between versions."""


class MessageTypes:
    """The message classes of one Envoy, by full name."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        for file in _dependencies_first(files):
            self._pool.Add(file)
        self._classes: dict[str, type[Message]] = {}

    def descriptor(self, name: str) -> Descriptor:
        """The descriptor of message `name`. Raises KeyError for a type that this Envoy does not know."""
        return self._pool.FindMessageTypeByName(name)

    def message(self, name: str) -> Any:
        """The class of message `name`, e.g. `envoy.config.cluster.v3.Cluster`. Raises KeyError like `descriptor`."""
        if name not in self._classes:
            self._classes[name] = message_factory.GetMessageClass(self.descriptor(name))
        return self._classes[name]


def load_message_types(binary: Path, cache_dir: Path) -> MessageTypes:
    """The types of `binary`, through a cache in `cache_dir`; one that is absent or corrupt is made anew.

    Raises PorticoError(ENVOY_MISSING) when the binary cannot be read or carries no descriptors.
    """
    try:
        program = binary.read_bytes()
    except OSError as error:
        raise PorticoError(ENVOY_MISSING, f"{binary} cannot be read: {error.strerror}") from None
    cached = cache_dir / f"descriptors-{hashlib.sha256(program).hexdigest()[:32]}.bin"
    files = _read_cache(cached)
    if files is None:
        files = extract(program)
        if not any(file.name == _NEEDED for file in files.file):
            raise PorticoError(ENVOY_MISSING, f"{binary} is not an Envoy: it carries no description of its API")
        _write_cache(cached, files)
    return MessageTypes(files)


def extract(program: bytes) -> descriptor_pb2.FileDescriptorSet:
    """Every file descriptor embedded in `program`, each name once."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for start, name in _candidates(program):
        if name in found:
            continue
        try:
            file = descriptor_pb2.FileDescriptorProto.FromString(program[start : _end(program, start)])
        except DecodeError:
            continue
        if file.message_type or file.enum_type or file.dependency or file.extension:
            found[name] = file
    return descriptor_pb2.FileDescriptorSet(file=found.values())


def _candidates(program: bytes) -> Iterator[tuple[int, str]]:
    for match in _START.finditer(program):
        name = program[match.start() + 2 : match.start() + 2 + match[1][0]]
        if name.endswith(b".proto") and match[2].startswith(name):
            yield match.start(), name.decode()


def _end(program: bytes, start: int) -> int:
    """Where the message at `start` ends: nothing tells its length, so walk fields while they can be a descriptor's."""
    position = start
    seen_name = False
    while position < len(program):
        tag = program[position]
        field, wire = tag >> 3, tag & 7
        if not 1 <= field <= _LAST_FIELD or wire not in (0, _LENGTH_DELIMITED) or (field == 1 and seen_name):
            return position
        seen_name = True
        value, after = _varint(program, position + 1)
        end = after + value if wire == _LENGTH_DELIMITED else after
        if end > len(program):
            return position
        position = end
    return position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return len(data), position


def _dependencies_first(files: descriptor_pb2.FileDescriptorSet) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    by_name = {file.name: file for file in files.file}
    done: set[str] = set()

    def visit(name: str) -> Iterator[descriptor_pb2.FileDescriptorProto]:
        if name in done or name not in by_name:
            return
        done.add(name)
        for dependency in by_name[name].dependency:
            yield from visit(dependency)
        yield by_name[name]

    for name in by_name:
        yield from visit(name)


def _read_cache(path: Path) -> descriptor_pb2.FileDescriptorSet | None:
    """The cached set; its own hash stands before it, because a file cut short may still parse."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:32], content[32:]
    if hashlib.sha256(payload).digest() != digest:
        log.warning("descriptor cache is corrupt and made anew", extra={"path": str(path)})
        return None
    return descriptor_pb2.FileDescriptorSet.FromString(payload)


def _write_cache(path: Path, files: descriptor_pb2.FileDescriptorSet) -> None:
    payload = files.SerializeToString()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(file.name, path)
        _drop_old(path)
    except OSError as error:
        # Without a cache each start only takes a moment longer.
        log.warning("descriptor cache not written", extra={"path": str(path), "error": str(error)})


def _drop_old(current: Path) -> None:
    others = [path for path in current.parent.glob("descriptors-*") if path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-_KEEP]:
        path.unlink(missing_ok=True)
