"""What Envoy is meant to have: one entry a resource, each knowing what to fall back to."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from portico.translate.resource import ResourceKey


@dataclass(slots=True, eq=False)
class Entry:
    """One resource at one moment. `serial` grows with every change, so that a later entry answers for earlier ones."""

    key: ResourceKey
    serial: int
    payload: bytes | None
    """The serialized message; None where the entry says that the resource is gone."""
    version: str = ""
    """Hash of the content, so that it survives a restart of ours and an Envoy that has it is sent nothing."""
    sent: bool = False
    """Whether some Envoy was told of it."""
    accepted: bool = False
    """Whether some Envoy has acknowledged it."""
    previous: Self | None = field(default=None, repr=False)
    """What came before, as long as this one may be rejected; it may itself have yet to be answered."""


def version_of(payload: bytes) -> str:
    """The version of a content."""
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


class Snapshot:
    """The wanted entries by type and name."""

    def __init__(self) -> None:
        self._types: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        self._serial = 0

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entries in self._types.values() for entry in entries.values())

    def get(self, key: ResourceKey) -> Entry | None:
        """The wanted entry of `key`."""
        return self._types[key.type_url].get(key.name)

    def of_type(self, type_url: str) -> Mapping[str, Entry]:
        """All wanted entries of a type, by name."""
        return self._types[type_url]

    def put(self, key: ResourceKey, payload: bytes) -> Entry:
        """Want this content; the same content again stays the entry that it is."""
        version = version_of(payload)
        current = self.get(key)
        if current is not None and current.version == version:
            return current
        # What no Envoy ever saw is nothing to go back to, and would pile up while there is none.
        previous = current if current is None or current.sent or current.accepted else current.previous
        self._serial += 1
        entry = Entry(key, self._serial, payload, version, previous=previous)
        self._types[key.type_url][key.name] = entry
        return entry

    def drop(self, key: ResourceKey) -> Entry:
        """Want `key` no more; the entry that says so."""
        self._types[key.type_url].pop(key.name, None)
        self._serial += 1
        return Entry(key, self._serial, None)

    def rewrite(self, entry: Entry, payload: bytes) -> Entry:
        """The same wish in other bytes: whoever waits for `entry` is content with this one."""
        version = version_of(payload)
        rewritten = replace(entry, payload=payload, version=version)
        self._types[entry.key.type_url][entry.key.name] = rewritten
        return rewritten

    def roll_back(self, entry: Entry) -> Entry:
        """Go back to what was accepted before `entry`; where nothing was, the entry that says so."""
        previous = entry.previous
        while previous is not None and not previous.accepted:
            previous = previous.previous
        if previous is None:
            return self.drop(entry.key)
        self._types[entry.key.type_url][entry.key.name] = previous
        return previous


def accept(entry: Entry) -> None:
    """Some Envoy has acknowledged `entry`, so nothing before it is gone back to."""
    entry.accepted = True
    entry.previous = None
