import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico.edge.agent_options import bind_request
from portico.edge.bind_request import BindRequest
from portico.edge.cloud import Change, Cloud
from portico.edge.naming import Naming
from portico.edge.registry import Limits, Registry, Session
from portico.model.endpoint import EdgeTls, EndpointUrl, Scheme, TlsVersion
from portico.model.errors import ALREADY_ONLINE, BIND_INVALID, NOT_SERVED, TOO_MANY_ENDPOINTS, PorticoError
from portico.model.owner import Owner
from portico.policy import served
from portico.store.cloud_endpoints import CloudEndpoint
from portico.store.store import Store
from portico.tunnel.messages import Bind, BindExtra

NAMING = Naming("edge.test", 8443, 8080, range(20_000, 20_010))
ANSWER = "on_http_request:\n  - actions:\n      - type: deny\n"
CANONICAL = '{"on_http_request":[{"actions":[{"type":"deny"}]}]}'


@pytest.fixture(autouse=True)
def _deny_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_ENFORCED", ("deny", "terminate-tls"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def anna(store: Store) -> Owner:
    with store.write() as unit:
        return unit.owners.add("anna", source="settings", max_endpoints=2)


def kept(store: Store, owner: Owner, url: str = "https://www.test", **fields: object) -> CloudEndpoint:
    with store.write() as unit:
        return unit.cloud_endpoints.add(owner.id, EndpointUrl.parse(url), ANSWER, **fields)  # type: ignore[arg-type]


def registry() -> Registry:
    return Registry(NAMING, Limits(5, 5))


def cloud(live: Registry, store: Store) -> Cloud:
    return Cloud(live, store, TlsVersion.TLS_1_2)


def put(ours: Cloud, endpoint: CloudEndpoint) -> Change:
    return ours.put(endpoint, ours.request(endpoint))


def refused(store: Store, live: Registry, endpoint: CloudEndpoint) -> PorticoError:
    with pytest.raises(PorticoError) as caught:
        put(cloud(live, store), endpoint)
    return caught.value


def test_all_are_online_from_the_start_with_their_policy_and_without_addresses(store: Store, anna: Owner) -> None:
    kept(store, anna)
    live = registry()
    cloud(live, store).begin()
    endpoint = live.endpoint(EndpointUrl(Scheme.HTTPS, "www.test", 8443))
    assert endpoint is not None
    assert (endpoint.addresses, endpoint.traffic_policy, endpoint.owner) == ((), CANONICAL, anna.id)
    assert endpoint.tls == EdgeTls()
    assert live.holders("www.test") == {anna.id}
    assert not list(live.sessions)


def test_a_change_replaces_it_and_can_be_taken_back(store: Store, anna: Owner) -> None:
    endpoint = kept(store, anna)
    kept(store, anna, "https://second.test")
    live = registry()
    ours = cloud(live, store)
    ours.begin()
    with store.write() as unit:
        moved = unit.cloud_endpoints.change(endpoint.id, url="https://new.test")
    change = put(ours, moved)  # at the owner's limit, too: it is none more
    assert {url.host for url in change.urls} == {"www.test", "new.test"}
    assert {url.host for url in live.urls} == {"second.test", "new.test"}
    ours.undo(change)
    assert {url.host for url in live.urls} == {"second.test", "www.test"}
    taken = ours.take(endpoint)
    assert taken is not None
    assert taken.host == "www.test"
    assert ours.take(endpoint) is None


def test_the_rules_of_names_hold_for_them_too(store: Store, anna: Owner) -> None:
    live = registry()
    live.add_session(Session("s1", "r0", "agent", 0, anna, "127.0.0.1:1"))
    live.bind("s1", BindRequest(Scheme.HTTPS, "www.test", pooling=True), "/1.sock", now=0)
    assert refused(store, live, kept(store, anna)).code is ALREADY_ONLINE
    pooled = refused(store, live, kept(store, anna, pooling=True))
    assert pooled.code is BIND_INVALID  # an agent without that policy
    assert "traffic_policy" in pooled.message
    live.bind("s1", BindRequest(Scheme.HTTPS, "two.test"), "/2.sock", now=0)
    assert refused(store, live, kept(store, anna, "https://three.test")).code is TOO_MANY_ENDPOINTS


def test_nobody_joins_the_pool_of_another_owner(store: Store, anna: Owner) -> None:
    with store.write() as unit:
        bert = unit.owners.add("bert", source="settings")
    live = registry()
    put(cloud(live, store), kept(store, anna, pooling=True))
    assert refused(store, live, kept(store, bert, pooling=True)).message.endswith("online for another owner")


@pytest.mark.parametrize("scheme", ["https", "http", "tls"])
def test_an_agent_of_the_same_owner_and_policy_joins_the_pool(store: Store, anna: Owner, scheme: str) -> None:
    answer = ANSWER if scheme != "tls" else ANSWER.replace("http_request", "tcp_connect")
    asked = Bind(
        proto=scheme,
        opts={"Hostname": "www.test", "TrafficPolicy": answer},
        extra=BindExtra(pooling_enabled=True),
    )
    live = registry()
    with store.write() as unit:
        url = EndpointUrl.parse(f"{scheme}://www.test")
        endpoint = unit.cloud_endpoints.add(anna.id, url, answer, pooling=True)
    put(cloud(live, store), endpoint)
    live.add_session(Session("s1", "r0", "agent", 0, anna, "127.0.0.1"))
    bind = live.bind("s1", bind_request(asked), "/run/1.sock", 0.0)
    pool = live.endpoint(bind.url)
    assert pool is not None
    assert len(pool.addresses) == 1


def test_internal_ones_have_the_usual_ports_and_tcp_ones_their_own_names(anna: Owner) -> None:
    live = registry()
    live.add_session(Session("s1", "r0", "agent", 0, anna, "127.0.0.1:1"))
    for host in ("db.internal", "cache.internal"):
        live.bind("s1", BindRequest(Scheme.TCP, host, 5432), f"/{host}.sock", now=0)
    endpoint = live.endpoint(EndpointUrl(Scheme.TCP, "db.internal", 5432))
    assert endpoint is not None
    assert endpoint.is_internal
    assert NAMING.named(Scheme.HTTPS, "web.internal").port == 443


def test_terminate_tls_of_the_policy_holds(store: Store, anna: Owner) -> None:
    policy = {
        "on_tcp_connect": [{"actions": [{"type": "terminate-tls", "config": {"min_version": "1.3"}}, {"type": "deny"}]}]
    }
    with store.write() as unit:
        for url in ("https://one.test", "http://one.test"):
            unit.cloud_endpoints.add(anna.id, EndpointUrl.parse(url), json.dumps(policy))
        https, http = unit.cloud_endpoints.all()
    live = registry()
    put(cloud(live, store), https)
    endpoint = live.endpoint(EndpointUrl(Scheme.HTTPS, "one.test", 8443))
    assert endpoint is not None
    assert endpoint.tls is not None
    assert endpoint.tls.minimum is TlsVersion.TLS_1_3
    assert refused(store, live, http).code is BIND_INVALID


def test_one_that_is_not_enforced_any_more_is_not_served(
    store: Store, anna: Owner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_ENFORCED", ())
    endpoint = kept(store, anna)
    live = registry()
    with caplog.at_level(logging.ERROR):
        cloud(live, store).begin()
    assert "a cloud endpoint is not served" in caplog.text
    assert not list(live.urls)
    assert refused(store, live, endpoint).code is NOT_SERVED
