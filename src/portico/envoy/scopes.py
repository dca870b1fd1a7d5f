"""What scoped routes need beyond other resources: a way out of Envoy's "known but not applied", and unique keys.

When Envoy 1.40 rejects a scope, it may remember content that it never applied, of the culprit and of others in the same
response: the same content sent again is then acknowledged and ignored, and its visitors get 404 for ever. A revision in
the name of the inline route configuration, which nothing else uses, makes the content differ.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from portico.envoy.descriptors import MessageTypes
from portico.envoy.snapshot import Entry, Snapshot
from portico.translate.resource import SCOPE, ResourceKey

_MARK: Final = "~"


class Scopes:
    """The revisions of scopes that were part of a rejected response."""

    def __init__(self, types: MessageTypes) -> None:
        self._message: Any = types.message("envoy.config.route.v3.ScopedRouteConfiguration")
        self._revisions: defaultdict[str, int] = defaultdict(int)

    def revised(self, key: ResourceKey, payload: bytes) -> bytes:
        """`payload` with the scope's revision, if it has one."""
        revision = self._revisions.get(key.name) if key.type_url == SCOPE else None
        if revision is None:
            return payload
        scope = self._message.FromString(payload)
        name = scope.route_configuration.name.partition(_MARK)[0]
        scope.route_configuration.name = f"{name}{_MARK}{revision}"
        revised: bytes = scope.SerializeToString(deterministic=True)
        return revised

    def doubt(self, snapshot: Snapshot, entry: Entry) -> Entry:
        """`entry` was in a rejected response: the same wish in a form that Envoy has not seen."""
        if entry.key.type_url != SCOPE or entry.payload is None:
            return entry
        self._revisions[entry.key.name] += 1
        if snapshot.get(entry.key) is not entry:
            return entry
        return snapshot.rewrite(entry, self.revised(entry.key, entry.payload))

    def same_keys(self, present: Iterable[Entry], leaving: Iterable[Entry | None]) -> set[ResourceKey]:
        """Which of the leaving scopes have the key of one that comes under another name."""
        going = {self._scope_key(entry): entry.key for entry in leaving if entry and entry.key.type_url == SCOPE}
        if not going:
            return set()
        coming = {self._scope_key(entry) for entry in present if entry.key.type_url == SCOPE}
        return {name for key, name in going.items() if key in coming}

    def _scope_key(self, entry: Entry) -> bytes:
        key: bytes = self._message.FromString(entry.payload).key.SerializeToString(deterministic=True)
        return key
