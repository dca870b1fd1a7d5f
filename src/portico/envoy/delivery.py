"""What to send to which Envoy in which order, and what to do with the answers. Synchronous, so nothing interleaves."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Set
from typing import Any, Final

from portico.envoy.descriptors import MessageTypes
from portico.envoy.encode import Codec
from portico.envoy.peer import WILDCARD_TYPES, Peer, Subscription
from portico.envoy.publication import Ledger, Publication
from portico.envoy.references import referenced
from portico.envoy.scopes import Scopes
from portico.envoy.snapshot import Entry, Snapshot, accept
from portico.translate.resource import (
    CLUSTER,
    ENDPOINTS,
    FILTER_CHAIN,
    LISTENER,
    ROUTES,
    SCOPE,
    SECRET,
    Resource,
    ResourceKey,
)

log = logging.getLogger(__name__)

SecretWanted = Callable[[str], Resource | Awaitable[Resource | None] | None]
SecretReleased = Callable[[str], object]

_ORDER: Final = (CLUSTER, ENDPOINTS, SECRET, ROUTES, SCOPE, FILTER_CHAIN, LISTENER)
"""What is pointed at comes before what points at it; removals go the other way."""
_RETRY: Final = 1.0
"""Seconds until an Envoy is offered again what another one accepted and it refused (an address still in use)."""
_FIRST_SCOPES: Final = Entry(ResourceKey(SCOPE, ""), 0, None)
"""Stands for whatever an Envoy is first sent of scopes."""


class Delivery:
    """The snapshot and the Envoys that follow it."""

    def __init__(
        self,
        types: MessageTypes,
        codec: Codec,
        on_secret_wanted: SecretWanted | None,
        on_secret_released: SecretReleased | None,
    ) -> None:
        self.snapshot = Snapshot()
        self.ledger = Ledger()
        self.peers: dict[int, Peer] = {}
        self._codec = codec
        self._scopes = Scopes(types)
        self._on_secret_wanted = on_secret_wanted
        self._on_secret_released = on_secret_released
        self._lent: set[str] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Ask for no more secrets."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def join(self, peer: Peer) -> None:
        """A stream has begun."""
        self.peers[peer.ident] = peer

    def leave(self, peer: Peer) -> None:
        """A stream has ended."""
        del self.peers[peer.ident]
        self.ledger.lost(peer.ident)
        secrets = peer.subscriptions.get(SECRET)
        self._release(secrets.names if secrets else ())

    # Changes, downwards.

    def change(
        self,
        wanted: list[tuple[ResourceKey, bytes]],
        removed: list[ResourceKey],
        bodies: dict[ResourceKey, dict[str, Any]],
    ) -> Publication:
        """Put and drop, and send the difference to every Envoy."""
        present = [self.snapshot.put(key, self._scopes.revised(key, payload)) for key, payload in wanted]
        moved = self._scopes.same_keys(present, [self.snapshot.get(key) for key in removed])
        gone = [self.snapshot.drop(key) for key in removed if self.snapshot.get(key) is not None]
        publication = Publication()
        self._await(publication, present, gone, bodies)
        for peer in self.peers.values():
            _send(peer, present, gone, moved)
        publication.check()
        return publication

    def _await(
        self,
        publication: Publication,
        present: list[Entry],
        gone: list[Entry],
        bodies: dict[ResourceKey, dict[str, Any]],
    ) -> None:
        roots = [e.key for e in present if e.key.type_url in WILDCARD_TYPES or self._anybody_wants(e)]
        coming: Set[ResourceKey] = referenced(roots, bodies) if len(roots) < len(present) else set(roots)
        for entry in present:
            owing = {
                peer.ident
                for peer in self.peers.values()
                if peer.owes(entry) or (entry.key in coming and not peer.wants(entry))
            }
            if owing or (not self.peers and entry.key in coming):
                self.ledger.wait(publication, entry, owing)
        if any(entry.key.type_url == LISTENER for entry in present):
            # A listener accepts connections only once its scopes have arrived, which Envoy asks for after the listener.
            unscoped = {peer.ident for peer in self.peers.values() if not peer.subscribed(SCOPE)}
            if unscoped and any(
                "scoped_routes" in str(body) for key, body in bodies.items() if key.type_url == LISTENER
            ):
                self.ledger.wait(publication, _FIRST_SCOPES, unscoped)
        for entry in gone:
            holding = {peer.ident for peer in self.peers.values() if not peer.has(entry)}
            if holding:
                self.ledger.wait(publication, entry, holding)
            else:
                self.ledger.withdraw(entry)

    def _anybody_wants(self, entry: Entry) -> bool:
        return any(peer.wants(entry) for peer in self.peers.values())

    def _push(self, entry: Entry) -> None:
        """Bring every Envoy that subscribed to it to `entry`."""
        for peer in self.peers.values():
            if peer.wants(entry) and not peer.has(entry):
                peer.respond(entry.key.type_url, [entry])

    # Requests, upwards.

    def handle(self, peer: Peer, request: Any) -> None:
        """One DeltaDiscoveryRequest: an answer, a subscription, or both."""
        type_url = request.type_url
        if request.response_nonce:
            entries = peer.answered(request.response_nonce)
            if entries is None:
                return
            if request.HasField("error_detail"):
                self._refused(peer, type_url, entries, request.error_detail.message)
            else:
                self._acknowledged(peer, type_url, entries)
        if type_url not in peer.subscriptions:
            self._first_request(peer, request)
        else:
            self._subscribe(peer, type_url, request.resource_names_subscribe)
        self._unsubscribe(peer, type_url, request.resource_names_unsubscribe)

    def _acknowledged(self, peer: Peer, type_url: str, entries: list[Entry]) -> None:
        for entry in entries:
            peer.subscriptions[type_url].acknowledge(entry)
            accept(entry)
            self.ledger.acknowledge(entry, peer.ident)
        if type_url == SCOPE:
            self.ledger.acknowledge(_FIRST_SCOPES, peer.ident)

    def _refused(self, peer: Peer, type_url: str, entries: list[Entry], reason: str) -> None:
        entries = [self._scopes.doubt(self.snapshot, entry) for entry in entries]
        if len(entries) > 1:
            # Envoy names no culprit in a form to rely on: sent one by one, each is answered for itself.
            current = [entry for entry in entries if entry.payload is None or self.snapshot.get(entry.key) is entry]
            peer.deliver(type_url, current, alone=True)
            return
        for entry in entries:
            facts = {"type": type_url.rpartition(".")[2], "resource": entry.key.name, "reason": reason}
            log.error("envoy rejected a resource", extra=facts)
            if entry.accepted:
                self._retry_later(peer, entry)
            else:
                self._roll_back(peer, entry)
            self.ledger.reject(entry, reason)

    def _roll_back(self, peer: Peer, entry: Entry) -> None:
        if self.snapshot.get(entry.key) is not entry:
            return
        restored = self.snapshot.roll_back(entry)
        subscription = peer.subscriptions[entry.key.type_url]
        if restored.payload is not None and subscription.acknowledged.get(entry.key.name) == restored.serial:
            subscription.sent[entry.key.name] = restored
        self._push(restored)

    def _retry_later(self, peer: Peer, entry: Entry) -> None:
        peer.subscriptions[entry.key.type_url].sent.pop(entry.key.name, None)

        def retry() -> None:
            if peer.ident in self.peers and self.snapshot.get(entry.key) is entry and not peer.has(entry):
                peer.respond(entry.key.type_url, [entry])

        asyncio.get_running_loop().call_later(_RETRY, retry)

    # Subscriptions.

    def _first_request(self, peer: Peer, request: Any) -> None:
        type_url, names = request.type_url, request.resource_names_subscribe
        wildcard = "*" in names or (not names and type_url in WILDCARD_TYPES)
        subscription = Subscription(wildcard, dict(request.initial_resource_versions))
        peer.subscriptions[type_url] = subscription
        if wildcard:
            self._subscribe_all(peer, type_url, subscription)
        self._subscribe(peer, type_url, [name for name in names if name != "*"])

    def _subscribe_all(self, peer: Peer, type_url: str, subscription: Subscription) -> None:
        returning = bool(subscription.known)
        wanted = self.snapshot.of_type(type_url)
        news = [entry for entry in wanted.values() if not self._knows(peer, subscription, entry)]
        news += [_nothing(type_url, name) for name in subscription.known if name not in wanted]
        subscription.known.clear()
        if news:
            peer.deliver(type_url, news)
        elif returning:
            if type_url == SCOPE:  # it has them all, so there will be no answer to acknowledge
                self.ledger.acknowledge(_FIRST_SCOPES, peer.ident)
        else:
            # Silence would keep a new Envoy waiting for initial_fetch_timeout.
            peer.respond(type_url, [])

    def _knows(self, peer: Peer, subscription: Subscription, entry: Entry) -> bool:
        known = subscription.take_known(entry)
        if known:
            accept(entry)
            self.ledger.acknowledge(entry, peer.ident)
        return known

    def _subscribe(self, peer: Peer, type_url: str, names: Iterable[str]) -> None:
        subscription = peer.subscriptions[type_url]
        news = []
        for name in names:
            subscription.names.add(name)
            entry = self.snapshot.get(ResourceKey(type_url, name))
            if entry is None and type_url == SECRET and self._on_secret_wanted is not None:
                self._ask_for_secret(name)
            elif entry is None or not self._knows(peer, subscription, entry):
                subscription.known.pop(name, None)
                news.append(entry or _nothing(type_url, name))
        peer.deliver(type_url, news)

    def _unsubscribe(self, peer: Peer, type_url: str, names: Iterable[str]) -> None:
        subscription = peer.subscriptions[type_url]
        for name in names:
            subscription.names.discard(name)
            if not subscription.wildcard:
                subscription.sent.pop(name, None)
                subscription.acknowledged.pop(name, None)
        if type_url == SECRET:
            self._release(names)

    # Secrets on demand.

    def _ask_for_secret(self, name: str) -> None:
        if name not in self._asking:
            task = asyncio.create_task(self._fetch_secret(name))
            self._asking[name] = task
            task.add_done_callback(lambda _: self._asking.pop(name, None))

    async def _fetch_secret(self, name: str) -> None:
        key = ResourceKey(SECRET, name)
        resource = await self._wanted_secret(name)
        entry = self.snapshot.get(key)
        if entry is None and resource is not None and self._anybody_wants(_nothing(*key)):
            entry = self.snapshot.put(key, self._codec.encode(SECRET, resource.body))
            self._lent.add(name)
        for peer in self.peers.values():
            subscription = peer.subscriptions.get(SECRET)
            if subscription is None or name not in subscription.names or name in subscription.sent:
                continue
            if entry is None or not self._knows(peer, subscription, entry):
                peer.respond(SECRET, [entry or _nothing(*key)])

    async def _wanted_secret(self, name: str) -> Resource | None:
        assert self._on_secret_wanted is not None
        try:
            answer = self._on_secret_wanted(name)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception:
            # Whatever went wrong, Envoy must be answered, or the visitor's handshake hangs.
            log.exception("no secret could be had", extra={"secret": name})
            return None

    def _release(self, names: Iterable[str]) -> None:
        for name in self._lent.intersection(names):
            if not any(name in p.subscriptions[SECRET].names for p in self.peers.values() if SECRET in p.subscriptions):
                self._lent.discard(name)
                self.snapshot.drop(ResourceKey(SECRET, name))
                if self._on_secret_released is not None:
                    self._on_secret_released(name)


def _send(peer: Peer, present: list[Entry], gone: list[Entry], moved: set[ResourceKey]) -> None:
    news = [entry for entry in present if peer.wants(entry) and not peer.has(entry)]
    leaving = [entry for entry in gone if not peer.has(entry)]
    for type_url in _ORDER:
        batch = [entry for entry in news if entry.key.type_url == type_url]
        if type_url == SCOPE and batch:
            # A scope key that moves to another name must be freed in the same response, or Envoy refuses the new one.
            peer.respond(type_url, [batch[0], *(entry for entry in leaving if entry.key in moved)])
            # One rejected scope takes its whole response with it, so each travels alone.
            peer.deliver(type_url, batch[1:], alone=True)
        else:
            peer.deliver(type_url, batch)
    for type_url in reversed(_ORDER):
        peer.deliver(type_url, [e for e in leaving if e.key.type_url == type_url and not peer.has(e)])


def _nothing(type_url: str, name: str) -> Entry:
    return Entry(ResourceKey(type_url, name), 0, None)
