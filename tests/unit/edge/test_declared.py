import logging
from dataclasses import replace

import pytest

from portico.edge.bind_request import BindRequest
from portico.edge.declared import Declared
from portico.edge.naming import Naming
from portico.edge.registry import Limits, Registry, Session
from portico.model.endpoint import EndpointUrl, HostPort, Scheme, UnixSocket
from portico.model.errors import ALREADY_ONLINE, PorticoError
from portico.model.owner import Owner

OPERATOR = Owner("ow_1", "default", None, None)
NAMING = Naming("edge.test", 443, 80, range(20_000, 20_010))
UPSTREAMS = (HostPort("10.0.0.5", 80), HostPort("a.internal", 80, 2))


def registry(*reserved: tuple[str, str]) -> Registry:
    return Registry(NAMING, Limits(1, 10), reserved)


def direct(host: str, **fields: bool) -> BindRequest:
    return BindRequest(Scheme.HTTPS, host, upstreams=UPSTREAMS, **fields)


def test_it_is_online_without_an_agent() -> None:
    live = registry()
    declared = Declared(live, [direct("a.test"), direct("b.test")], OPERATOR)
    url = EndpointUrl(Scheme.HTTPS, "a.test", 443)
    endpoint = live.endpoint(url)
    assert endpoint is not None
    assert endpoint.addresses == UPSTREAMS
    assert live.holders("a.test") == {"ow_1"}
    assert not list(live.sessions)
    assert list(declared.hosts) == ["10.0.0.5", "a.internal"]
    assert declared.urls("a.internal") == {url, EndpointUrl(Scheme.HTTPS, "b.test", 443)}


def test_an_agent_of_the_operator_has_all_his_sessions_and_joins_where_both_pool() -> None:
    live = registry()
    Declared(live, [direct("a.test", pooling=True), direct("b.test")], OPERATOR)
    live.add_session(Session("s1", "r0", "agent", 0, OPERATOR, "127.0.0.1:1"))
    bind = live.bind("s1", BindRequest(Scheme.HTTPS, "a.test", pooling=True), "/1.sock", now=0)
    endpoint = live.endpoint(bind.url)
    assert endpoint is not None
    assert set(endpoint.addresses) == {UnixSocket("/1.sock"), *UPSTREAMS}
    with pytest.raises(PorticoError) as caught:
        live.bind("s1", BindRequest(Scheme.HTTPS, "b.test", pooling=True), "/2.sock", now=0)
    assert caught.value.code is ALREADY_ONLINE
    live.end_session("s1", 0)
    endpoint = live.endpoint(bind.url)
    assert endpoint is not None
    assert endpoint.addresses == UPSTREAMS


def test_one_that_a_rule_forbids_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    live = registry(("b.test", "ann"))
    with caplog.at_level(logging.ERROR):
        declared = Declared(live, [direct("b.test"), direct("c.test")], OPERATOR)
    assert [url.host for url in live.urls] == ["c.test"]
    assert declared.urls("10.0.0.5") == set(live.urls)
    assert "not served" in caplog.text


def test_what_changes_changes_alone(caplog: pytest.LogCaptureFixture) -> None:
    live = registry(("mine.test", "ann"))
    declared = Declared(live, [direct("a.test"), direct("b.test"), direct("c.test", pooling=True)], OPERATOR)
    a, b, c, d = (EndpointUrl(Scheme.HTTPS, f"{label}.test", 443) for label in "abcd")
    same = live.endpoint(a)
    other = replace(direct("b.test"), upstreams=(HostPort("10.0.0.9", 80),))
    assert declared.change([other, direct("a.test"), direct("d.test"), direct("mine.test")]) == {b, c, d}
    assert live.endpoint(a) is not None
    assert live.endpoint(a) == same
    changed = live.endpoint(b)
    assert changed is not None
    assert changed.addresses == other.upstreams
    assert live.endpoint(c) is None
    assert set(live.urls) == {a, b, d}
    assert declared.urls("10.0.0.9") == {b}
    assert declared.urls("gone.internal") == set()
    assert caplog.text.count("not served") == 1


def test_one_that_is_refused_stays_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    live = registry()
    declared = Declared(live, [direct("a.test", pooling=True)], OPERATOR)
    live.add_session(Session("s1", "r0", "agent", 0, OPERATOR, "127.0.0.1:1"))
    bind = live.bind("s1", BindRequest(Scheme.HTTPS, "a.test", pooling=True), "/1.sock", now=0)
    # The agents of the pool do not agree with that.
    declared.change([replace(direct("a.test", pooling=True), host_header="inner")])
    endpoint = live.endpoint(bind.url)
    assert endpoint is not None
    assert set(endpoint.addresses) == {UnixSocket("/1.sock"), *UPSTREAMS}
    assert "not served" in caplog.text
