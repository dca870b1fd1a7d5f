"""One Envoy's stream: what it subscribed to, what it was sent, what is unanswered."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from portico.envoy.descriptors import MessageTypes
from portico.envoy.snapshot import Entry
from portico.translate.resource import CLUSTER, LISTENER, SCOPE

WILDCARD_TYPES: Final = frozenset({CLUSTER, SCOPE, LISTENER})
"""Types that Envoy subscribes to as a whole, by naming nothing in its first request."""
_CHUNK: Final = 2_000
"""Resources a response at most, so that Envoy's main thread answers others in between."""


@dataclass(slots=True)
class Subscription:
    """One type's part of a stream."""

    wildcard: bool
    known: dict[str, str]
    """Versions that Envoy brought with it from an earlier stream, until they are compared."""
    names: set[str] = field(default_factory=set)
    sent: dict[str, Entry] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Serials by name."""

    def wants(self, name: str) -> bool:
        """Whether Envoy is to be told of `name`."""
        return self.wildcard or name in self.names

    def take_known(self, entry: Entry) -> bool:
        """Whether Envoy has `entry` from before; then it counts as sent and acknowledged."""
        if self.known.pop(entry.key.name, None) != entry.version:
            return False
        self.sent[entry.key.name] = entry
        self.acknowledged[entry.key.name] = entry.serial
        return True

    def acknowledge(self, entry: Entry) -> None:
        """Envoy has `entry`."""
        if entry.payload is None:
            self.acknowledged.pop(entry.key.name, None)
        else:
            self.acknowledged[entry.key.name] = entry.serial


class Peer:
    """One stream. `send` takes a serialized response and never blocks."""

    def __init__(self, ident: int, types: MessageTypes, send: Callable[[bytes], None]) -> None:
        self.ident = ident
        self.subscriptions: dict[str, Subscription] = {}
        self._send = send
        self._response: Any = types.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
        self._unanswered: dict[str, list[Entry]] = {}
        self._nonce = 0

    def subscribed(self, type_url: str) -> bool:
        """Whether Envoy has asked for anything of the type."""
        return type_url in self.subscriptions

    def wants(self, entry: Entry) -> bool:
        """Whether this Envoy subscribed to the resource."""
        subscription = self.subscriptions.get(entry.key.type_url)
        return subscription is not None and subscription.wants(entry.key.name)

    def has(self, entry: Entry) -> bool:
        """Whether it was sent exactly this, or for an entry that says gone, was sent nothing."""
        subscription = self.subscriptions.get(entry.key.type_url)
        sent = subscription.sent.get(entry.key.name) if subscription else None
        return sent is None if entry.payload is None else sent is entry

    def owes(self, entry: Entry) -> bool:
        """Whether an answer for `entry` is to be expected."""
        subscription = self.subscriptions.get(entry.key.type_url)
        if subscription is None:
            return entry.key.type_url in WILDCARD_TYPES
        return subscription.wants(entry.key.name) and subscription.acknowledged.get(entry.key.name) != entry.serial

    def deliver(self, type_url: str, entries: Iterable[Entry], *, alone: bool = False) -> None:
        """Send entries of one type, each in a response of its own if `alone`."""
        waiting = list(entries)
        size = 1 if alone else _CHUNK
        for start in range(0, len(waiting), size):
            self.respond(type_url, waiting[start : start + size])

    def respond(self, type_url: str, entries: list[Entry]) -> None:
        """Send one response; an empty one tells that there is nothing of the type."""
        subscription = self.subscriptions[type_url]
        resources, removed = [], []
        for entry in entries:
            name = entry.key.name
            if entry.payload is None:
                subscription.sent.pop(name, None)
                removed.append(name)
            else:
                subscription.sent[name] = entry
                entry.sent = True
                message = {"type_url": type_url, "value": entry.payload}
                resources.append({"name": name, "version": entry.version, "resource": message})
        self._nonce += 1
        nonce = str(self._nonce)
        self._unanswered[nonce] = entries
        response = self._response(type_url=type_url, nonce=nonce, resources=resources, removed_resources=removed)
        self._send(response.SerializeToString())

    def answered(self, nonce: str) -> list[Entry] | None:
        """What the response was that Envoy answers now."""
        return self._unanswered.pop(nonce, None)
