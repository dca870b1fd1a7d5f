"""What is sent to which Envoy, and what its answers lead to; Envoy's side is spoken message by message."""

import asyncio
from typing import Any

import pytest

from kit.envoy import ADS, cluster, filter_chain, listener, message_types, scope, secret
from portico.envoy.delivery import Delivery
from portico.envoy.encode import Codec
from portico.envoy.peer import Peer
from portico.envoy.publication import Publication
from portico.translate.resource import CLUSTER, LISTENER, SCOPE, SECRET, Resource, ResourceKey


class Envoy:
    """One stream as Envoy would hold it."""

    def __init__(self, delivery: Delivery, ident: int = 1) -> None:
        self.types = message_types()
        self.delivery = delivery
        self.responses: list[Any] = []
        response = self.types.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
        self.peer = Peer(ident, self.types, lambda raw: self.responses.append(response.FromString(raw)))
        delivery.join(self.peer)

    def ask(self, type_url: str, **fields: Any) -> None:
        request = self.types.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
        self.delivery.handle(self.peer, request(type_url=type_url, **fields))

    def take(self) -> list[tuple[str, list[str], list[str]]]:
        """The kind, set names and removed names of each response since, which are then acknowledged."""
        taken = self.look()
        for response in self.drain():
            self.ask(response.type_url, response_nonce=response.nonce)
        return taken

    def look(self) -> list[tuple[str, list[str], list[str]]]:
        return [
            (r.type_url.rpartition(".")[2], [each.name for each in r.resources], list(r.removed_resources))
            for r in self.responses
        ]

    def drain(self) -> list[Any]:
        responses, self.responses = self.responses, []
        return responses

    def refuse(self, reason: str = "no") -> None:
        for response in self.drain():
            self.ask(response.type_url, response_nonce=response.nonce, error_detail={"code": 13, "message": reason})


@pytest.fixture
def delivery() -> Delivery:
    types = message_types()
    return Delivery(types, Codec(types), None, None)


def change(delivery: Delivery, *resources: Resource, remove: tuple[tuple[str, str], ...] = ()) -> Publication:
    codec = Codec(message_types())
    encoded = [(each.key, codec.encode(each.type_url, each.body)) for each in resources]
    bodies = {each.key: each.body for each in resources}
    return delivery.change(encoded, [ResourceKey(*key) for key in remove], bodies)


def connected(delivery: Delivery, ident: int = 1) -> Envoy:
    envoy = Envoy(delivery, ident)
    for type_url in (CLUSTER, LISTENER, SCOPE):
        envoy.ask(type_url)
    envoy.take()
    return envoy


class TestOrder:
    def test_clusters_first_scopes_alone_removals_backwards(self, delivery):
        envoy = connected(delivery)
        chain = {"name": "x"}
        wanted = [listener(1, chain), scope("a", "c"), scope("b", "c"), cluster("c", "/c"), cluster("d", "/d")]
        publication = change(delivery, *wanted)
        assert envoy.take() == [
            ("Cluster", ["c", "d"], []),
            ("ScopedRouteConfiguration", ["a"], []),
            ("ScopedRouteConfiguration", ["b"], []),
            ("Listener", ["main"], []),
        ]
        assert not publication.waits
        change(delivery, remove=((CLUSTER, "c"), (SCOPE, "a"), (LISTENER, "main")))
        assert envoy.take() == [
            ("Listener", [], ["main"]),
            ("ScopedRouteConfiguration", [], ["a"]),
            ("Cluster", [], ["c"]),
        ]

    def test_a_new_envoy_is_told_even_of_nothing(self, delivery):
        envoy = Envoy(delivery)
        envoy.ask(CLUSTER)
        assert envoy.take() == [("Cluster", [], [])]

    def test_a_returning_envoy_is_told_the_difference(self, delivery):
        change(delivery, cluster("same", "/s"), cluster("new", "/n"))
        version = delivery.snapshot.get(ResourceKey(CLUSTER, "same")).version
        envoy = Envoy(delivery)
        envoy.ask(CLUSTER, initial_resource_versions={"same": version, "new": "old", "gone": "x"})
        assert envoy.take() == [("Cluster", ["new"], ["gone"])]
        again = Envoy(delivery, 2)
        versions = {name: entry.version for name, entry in delivery.snapshot.of_type(CLUSTER).items()}
        again.ask(CLUSTER, initial_resource_versions=versions)
        assert again.take() == []

    def test_unknown_names_are_answered(self, delivery):
        envoy = Envoy(delivery)
        envoy.ask(SECRET, resource_names_subscribe=["a"])
        assert envoy.take() == [("Secret", [], ["a"])]
        change(delivery, secret("a", "", ""), secret("b", "", ""))
        assert envoy.take() == [("Secret", ["a"], [])]
        envoy.ask(SECRET, resource_names_unsubscribe=["a"])
        change(delivery, secret("a", "new", ""))
        assert envoy.take() == []


class TestWaiting:
    def test_for_every_envoy(self, delivery):
        one, two = connected(delivery, 1), connected(delivery, 2)
        publication = change(delivery, cluster("c", "/c"))
        one.take()
        assert publication.waits
        two.take()
        assert not publication.waits

    def test_not_for_one_that_left(self, delivery):
        one, two = connected(delivery, 1), connected(delivery, 2)
        publication = change(delivery, cluster("c", "/c"))
        one.take()
        delivery.leave(two.peer)
        assert not publication.waits

    def test_for_the_next_one_when_all_have_left(self, delivery):
        one = connected(delivery)
        publication = change(delivery, cluster("c", "/c"))
        delivery.leave(one.peer)
        assert publication.waits
        connected(delivery, 2)
        assert not publication.waits

    def test_not_for_scopes_that_a_returning_envoy_has(self, delivery):
        change(delivery, scope("a", "c"))
        versions = {"a": delivery.snapshot.get(ResourceKey(SCOPE, "a")).version}
        envoy = Envoy(delivery)
        envoy.ask(CLUSTER)
        envoy.ask(LISTENER)
        publication = change(delivery, listener(1, {"name": "x"}, stat_prefix="scoped_routes"))
        envoy.take()
        assert publication.waits
        envoy.ask(SCOPE, initial_resource_versions=versions)
        assert envoy.take() == []
        assert not publication.waits

    def test_a_later_version_answers_for_an_earlier_one(self, delivery):
        publication = change(delivery, cluster("c", "/c"))
        change(delivery, cluster("c", "/d"))
        connected(delivery)
        assert not publication.waits

    def test_ends_when_the_resource_is_removed_before_any_envoy_came(self, delivery):
        publication = change(delivery, cluster("c", "/c"))
        change(delivery, remove=((CLUSTER, "c"),))
        assert not publication.waits
        assert not publication.rejected

    def test_for_a_chain_and_a_secret_that_are_asked_for_because_of_it(self, delivery):
        envoy = connected(delivery)
        action = {"name": "own", "typed_config": {"@type": "type.googleapis.com/google.protobuf.StringValue"}}
        action["typed_config"]["value"] = "own"
        matcher = {"on_no_match": {"action": action}}
        tls = {"tls_certificate_sds_secret_configs": [{"name": "s", "sds_config": ADS}]}
        context = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        socket = {"name": "tls", "typed_config": {"@type": context, "common_tls_context": tls}}
        front = listener(1, {"name": "x", "transport_socket": socket}, filter_chain_matcher=matcher)
        wanted = [front, filter_chain("own"), filter_chain("unused"), secret("s", "", ""), secret("unused", "", "")]
        publication = change(delivery, *wanted)
        envoy.take()
        assert {key.name for key in publication.waits} == {"own", "s"}


class TestRejection:
    def test_of_one_in_a_batch_is_found_by_sending_each_alone(self, delivery):
        envoy = connected(delivery)
        publication = change(delivery, cluster("a", "/a"), cluster("b", "/b"))
        envoy.refuse("something in it")
        assert envoy.look() == [("Cluster", ["a"], []), ("Cluster", ["b"], [])]
        good, bad = envoy.drain()
        envoy.ask(CLUSTER, response_nonce=good.nonce)
        envoy.ask(CLUSTER, response_nonce=bad.nonce, error_detail={"message": "b is bad"})
        assert publication.rejected == {ResourceKey(CLUSTER, "b"): "b is bad"}
        assert not publication.waits
        assert set(delivery.snapshot.of_type(CLUSTER)) == {"a"}
        assert envoy.take() == [("Cluster", [], ["b"])]

    def test_goes_back_to_what_was_accepted(self, delivery):
        envoy = connected(delivery)
        change(delivery, cluster("a", "/good"))
        envoy.take()
        good = delivery.snapshot.get(ResourceKey(CLUSTER, "a"))
        change(delivery, cluster("a", "/bad"))
        change(delivery, cluster("a", "/worse"))
        envoy.refuse()
        envoy.refuse()
        assert delivery.snapshot.get(ResourceKey(CLUSTER, "a")) is good
        assert envoy.take() == []
        fresh = connected(delivery, 2)
        assert fresh.peer.has(good)

    def test_goes_back_to_what_was_still_unanswered_when_it_came(self, delivery):
        envoy = connected(delivery)
        change(delivery, cluster("a", "/first"))
        envoy.take()
        change(delivery, cluster("a", "/second"))
        change(delivery, cluster("a", "/bad"))
        second, bad = envoy.drain()
        envoy.ask(CLUSTER, response_nonce=second.nonce)
        envoy.ask(CLUSTER, response_nonce=bad.nonce, error_detail={"message": "no"})
        wanted = delivery.snapshot.get(ResourceKey(CLUSTER, "a"))
        assert b"/second" in wanted.payload
        assert envoy.take() == []

    def test_by_one_envoy_takes_it_from_the_other(self, delivery):
        one, two = connected(delivery, 1), connected(delivery, 2)
        change(delivery, cluster("a", "/bad"))
        two.drain()
        one.refuse()
        assert two.look() == [("Cluster", [], ["a"])]

    def test_of_a_scope_makes_its_content_new(self, delivery):
        envoy = connected(delivery)
        change(delivery, scope("a", "c"))
        first = delivery.snapshot.get(ResourceKey(SCOPE, "a"))
        envoy.refuse("duplicate key")
        assert envoy.take() == [("ScopedRouteConfiguration", [], ["a"])]
        change(delivery, scope("a", "c"))
        second = delivery.snapshot.get(ResourceKey(SCOPE, "a"))
        assert second.version != first.version
        assert envoy.take() == [("ScopedRouteConfiguration", ["a"], [])]

    async def test_of_what_was_accepted_before_is_tried_again(self, delivery, monkeypatch):
        monkeypatch.setattr("portico.envoy.delivery._RETRY", 0.0)
        one = connected(delivery, 1)
        change(delivery, listener(1, {"name": "x"}))
        one.take()
        two = Envoy(delivery, 2)
        two.ask(LISTENER)
        two.refuse("Address already in use")
        await asyncio.sleep(0.01)
        assert two.take() == [("Listener", ["main"], [])]
        assert set(delivery.snapshot.of_type(LISTENER)) == {"main"}

    def test_of_a_response_that_nobody_remembers_is_ignored(self, delivery):
        envoy = connected(delivery)
        envoy.ask(CLUSTER, response_nonce="stale", error_detail={"message": "x"})
        assert envoy.take() == []
