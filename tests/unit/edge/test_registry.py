"""The rules by which names are given out, as plain values."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portico.edge.bind_request import BindRequest
from portico.edge.naming import Naming
from portico.edge.registry import HOLD_SECONDS, Limits, Registry, Session
from portico.model.acl import Acl
from portico.model.balancing import USUAL, Balancing, Method
from portico.model.endpoint import EdgeTls, EndpointUrl, Scheme, UnixSocket
from portico.model.errors import PorticoError
from portico.model.owner import Owner

NAMING = Naming("edge.test", https_port=443, http_port=80, tcp_ports=range(20_000, 20_003))
ANNA = Owner("o1", "anna", max_sessions=3, max_endpoints=5)
BERT = Owner("o2", "bert", max_sessions=None, max_endpoints=None)
LIMITS = Limits(max_sessions=3, max_endpoints=5)
HTTPS = BindRequest(Scheme.HTTPS, "app.example.com")


def session(name: str, owner: Owner = ANNA, client_id: str | None = None, leg: int = 0) -> Session:
    return Session(name, "r0", client_id or f"client-{name}", leg, owner, "192.0.2.1:1")


def registry_with(*sessions: Session, **options: object) -> Registry:
    registry = Registry(NAMING, LIMITS, **options)  # type: ignore[arg-type]
    for one in sessions:
        registry.add_session(one)
    return registry


def refused(number: int):
    return pytest.raises(PorticoError, check=lambda error: error.code.number == number)


def test_a_named_https_endpoint_has_the_listeners_port_and_default_tls() -> None:
    registry = registry_with(session("s1"))
    bind = registry.bind("s1", HTTPS, "/run/1.sock", now=0)
    assert str(bind.url) == "https://app.example.com"
    endpoint = registry.endpoint(bind.url)
    assert endpoint is not None
    assert endpoint.tls == EdgeTls()
    assert endpoint.addresses == (UnixSocket("/run/1.sock"),)


def test_one_label_stands_under_the_edges_domain() -> None:
    bind = registry_with(session("s1")).bind("s1", BindRequest(Scheme.HTTPS, "shop"), "/1", now=0)
    assert bind.url.host == "shop.edge.test"


@pytest.mark.parametrize("host", ["edge.test", "connect.edge.test", "API.edge.test."])
def test_the_edges_own_names_are_refused(host: str) -> None:
    with refused(320):
        registry_with(session("s1")).bind("s1", BindRequest(Scheme.HTTPS, host), "/1", now=0)


def test_random_names_differ() -> None:
    registry = registry_with(session("s1"))
    urls = {registry.bind("s1", BindRequest(Scheme.HTTPS), f"/{n}", now=0).url for n in range(5)}
    assert len(urls) == 5
    assert all(url.host.endswith(".edge.test") for url in urls)


def test_a_name_that_is_online_is_refused() -> None:
    registry = registry_with(session("s1"), session("s2"))
    registry.bind("s1", HTTPS, "/1", now=0)
    with refused(334):
        registry.bind("s2", HTTPS, "/2", now=0)


def test_tls_beside_https_of_the_same_name_is_refused_but_http_is_not() -> None:
    registry = registry_with(session("s1"))
    registry.bind("s1", HTTPS, "/1", now=0)
    with refused(334):
        registry.bind("s1", replace(HTTPS, scheme=Scheme.TLS), "/2", now=0)
    assert str(registry.bind("s1", replace(HTTPS, scheme=Scheme.HTTP), "/3", now=0).url) == "http://app.example.com"


def test_pooling_needs_the_consent_of_both() -> None:
    registry = registry_with(session("s1"), session("s2"))
    first = registry.bind("s1", replace(HTTPS, pooling=True), "/1", now=0)
    with refused(334):
        registry.bind("s2", HTTPS, "/2", now=0)
    registry.bind("s2", replace(HTTPS, pooling=True), "/2", now=0)
    endpoint = registry.endpoint(first.url)
    assert endpoint is not None
    assert [address.path for address in endpoint.addresses] == ["/1", "/2"]
    registry.end_session("s1", now=1)
    endpoint = registry.endpoint(first.url)
    assert endpoint is not None
    assert [address.path for address in endpoint.addresses] == ["/2"]


@pytest.mark.parametrize(
    "other",
    [
        replace(HTTPS, pooling=True, upstream_http=2),
        replace(HTTPS, pooling=True, proxy_protocol=1),
        replace(HTTPS, pooling=True, websocket_bytes=True),
        replace(HTTPS, pooling=True, host_header="x"),
        replace(HTTPS, pooling=True, tls=EdgeTls(client_authorities="PEM")),
    ],
)
def test_members_of_a_pool_must_agree(other: BindRequest) -> None:
    registry = registry_with(session("s1"), session("s2"))
    registry.bind("s1", replace(HTTPS, pooling=True), "/1", now=0)
    with refused(20_005):
        registry.bind("s2", other, "/2", now=0)


def test_another_owner_never_joins_a_pool() -> None:
    registry = registry_with(session("a", ANNA), session("b", BERT))
    first = registry.bind("a", replace(HTTPS, pooling=True), "/1", now=0)
    with refused(334):
        registry.bind("b", replace(HTTPS, pooling=True), "/2", now=0)
    endpoint = registry.endpoint(first.url)
    assert endpoint is not None
    assert endpoint.addresses == (UnixSocket("/1"),)


def test_another_owner_takes_no_scheme_of_a_name_that_is_online() -> None:
    """Whoever types the name comes by http first, and certificate authorities look there."""
    registry = registry_with(session("a", ANNA), session("b", BERT))
    registry.bind("a", HTTPS, "/1", now=0)
    for scheme in (Scheme.HTTP, Scheme.TLS):
        with refused(334):
            registry.bind("b", replace(HTTPS, scheme=scheme), "/2", now=0)


def test_the_id_of_a_strangers_bind_opens_nothing() -> None:
    registry = registry_with(session("a", ANNA), session("b", BERT))
    first = registry.bind("a", HTTPS, "/1", now=0)
    with refused(334):
        registry.bind("b", replace(HTTPS, bind_id=first.id, token=first.token), "/2", now=0)
    endpoint = registry.endpoint(first.url)
    assert endpoint is not None
    assert endpoint.addresses == (UnixSocket("/1"),)


def test_weights_and_rules_of_a_pool() -> None:
    registry = registry_with(session("s1"), session("s2"))
    url = registry.bind("s1", replace(HTTPS, pooling=True, weight=3), "/1", now=0).url
    registry.bind("s2", replace(HTTPS, pooling=True), "/2", now=0)
    rules = Balancing(Method.MAGLEV)
    assert registry.declare([], {url: rules}) == {url}
    endpoint = registry.endpoint(url)
    assert endpoint is not None
    assert endpoint.addresses == (UnixSocket("/1", 3), UnixSocket("/2"))
    assert endpoint.balancing == rules
    assert registry.declare([], {url: rules}) == set()
    assert registry.declare([], {}) == {url}
    endpoint = registry.endpoint(url)
    assert endpoint is not None
    assert endpoint.balancing == USUAL


def test_reserved_domains_are_for_their_owner_alone() -> None:
    registry = registry_with(
        session("a", ANNA),
        session("b", BERT),
        reserved=[("*.example.com", "anna"), ("shop.example.com", "bert")],
    )
    with refused(320):
        registry.bind("b", HTTPS, "/1", now=0)
    registry.bind("a", HTTPS, "/1", now=0)
    with refused(320):
        registry.bind("a", BindRequest(Scheme.HTTPS, "shop.example.com"), "/2", now=0)
    registry.bind("b", BindRequest(Scheme.HTTPS, "shop.example.com"), "/2", now=0)


def test_tcp_takes_the_next_free_port_and_refuses_others() -> None:
    registry = registry_with(session("s1"))
    assert str(registry.bind("s1", BindRequest(Scheme.TCP), "/1", now=0).url) == "tcp://edge.test:20000"
    assert registry.bind("s1", BindRequest(Scheme.TCP, port=20_002), "/2", now=0).url.port == 20_002
    with refused(334):
        registry.bind("s1", BindRequest(Scheme.TCP, "other.test", port=20_002), "/3", now=0)
    with refused(20_002):
        registry.bind("s1", BindRequest(Scheme.TCP, port=80), "/3", now=0)
    registry.bind("s1", BindRequest(Scheme.TCP), "/3", now=0)
    with refused(20_003):
        registry.bind("s1", BindRequest(Scheme.TCP), "/4", now=0)


def test_limits_of_an_owner() -> None:
    registry = registry_with(session("s1"), session("s2"), session("s3"))
    with refused(108):
        registry.add_session(session("s4"))
    registry.add_session(session("b1", BERT))
    for n in range(5):
        registry.bind(f"s{n % 3 + 1}", BindRequest(Scheme.HTTPS), f"/{n}", now=0)
    with refused(324):
        registry.bind("s1", BindRequest(Scheme.HTTPS), "/9", now=0)
    registry.end_session("s2", now=0)
    registry.bind("s1", BindRequest(Scheme.HTTPS), "/9", now=0)


def test_a_lost_name_is_kept_for_its_owner_and_then_given_up() -> None:
    registry = registry_with(session("s1", client_id="c1"))
    url = registry.bind("s1", HTTPS, "/1", now=0).url
    assert registry.end_session("s1", now=10) == [url]
    assert registry.end_session("s1", now=10) == []
    registry.add_session(session("thief", BERT))
    with refused(334):
        registry.bind("thief", HTTPS, "/2", now=10 + HOLD_SECONDS - 1)
    registry.add_session(session("s2", client_id="c1"))
    assert registry.bind("s2", HTTPS, "/3", now=11).url == url
    registry.end_session("s2", now=20)
    assert registry.bind("thief", HTTPS, "/2", now=20 + HOLD_SECONDS).url == url


def test_a_lost_name_is_kept_in_all_its_forms() -> None:
    tcp = BindRequest(Scheme.TCP, port=20_000)
    registry = registry_with(session("s1"), session("thief", BERT))
    for number, request in enumerate((HTTPS, tcp)):
        registry.bind("s1", request, f"/{number}", now=0)
    registry.end_session("s1", now=0)
    others = [*(replace(HTTPS, scheme=scheme) for scheme in (Scheme.TLS, Scheme.HTTP)), replace(tcp, host="other.test")]
    for request in others:
        with refused(334):
            registry.bind("thief", request, "/2", now=1)
    assert registry.bind("thief", BindRequest(Scheme.TCP, "other.test"), "/2", now=1).url.port == 20_001
    registry.add_session(session("s2"))
    for number, request in enumerate((replace(HTTPS, scheme=Scheme.HTTP), HTTPS, tcp)):
        registry.bind("s2", request, f"/s2/{number}", now=2)
    registry.end_session("s2", now=3)
    for number, request in enumerate(others):
        registry.bind("thief", request, f"/9/{number}", now=3 + HOLD_SECONDS)


def test_a_program_that_was_started_again_gets_its_name_at_once() -> None:
    registry = registry_with(session("s1", client_id="c1"))
    url = registry.bind("s1", HTTPS, "/1", now=0).url
    registry.end_session("s1", now=10)
    registry.add_session(session("s2", client_id="another"))
    assert registry.bind("s2", HTTPS, "/2", now=11).url == url


def test_a_kept_name_is_told_offline_until_it_is_given_up() -> None:
    registry = registry_with(session("s1"))
    url = registry.bind("s1", HTTPS, "/1", now=0).url
    registry.end_session("s1", now=0)
    registry.expire_holds(HOLD_SECONDS - 1)
    endpoint = registry.endpoint(url)
    assert endpoint is not None
    assert endpoint.addresses == ()
    assert registry.serves(url.host)
    registry.expire_holds(HOLD_SECONDS)
    assert registry.endpoint(url) is None
    assert not registry.serves(url.host)


def test_a_rebind_in_the_same_session_moves_the_address() -> None:
    registry = registry_with(session("s1"))
    first = registry.bind("s1", HTTPS, "/1", now=0)
    again = registry.bind("s1", replace(HTTPS, bind_id=first.id, token=first.token), "/2", now=0)
    assert (again.id, again.token) == (first.id, first.token)
    endpoint = registry.endpoint(first.url)
    assert endpoint is not None
    assert [address.path for address in endpoint.addresses] == ["/2"]


def test_legs_of_one_agent_live_side_by_side() -> None:
    registry = registry_with(session("leg0", client_id="c", leg=0), session("leg1", client_id="c", leg=1))
    predecessor = registry.predecessor("c", 1)
    assert predecessor is not None
    assert predecessor.id == "leg1"
    assert registry.predecessor("c", 2) is None


def test_labelled_binds_serve_the_endpoint_with_their_labels() -> None:
    url = EndpointUrl(Scheme.HTTPS, "labelled.example.com", 443)
    registry = registry_with(session("s1"), session("s2"), labelled=[(url, {"edge": "shop"})])
    with refused(20_007):
        registry.bind("s1", BindRequest(None, labels={"edge": "other"}), "/1", now=0)
    assert registry.bind("s1", BindRequest(None, labels={"edge": "shop", "zone": "a"}), "/1", now=0).url == url
    assert registry.bind("s2", BindRequest(None, labels={"edge": "shop"}), "/2", now=0).url == url


def test_unbind_is_idempotent() -> None:
    registry = registry_with(session("s1"))
    bind = registry.bind("s1", HTTPS, "/1", now=0)
    assert registry.unbind("s1", bind.id) == bind.url
    assert registry.unbind("s1", bind.id) is None
    assert registry.endpoint(bind.url) is None
    assert not registry.serves("app.example.com")


def test_patch_changes_what_it_names_and_nothing_else() -> None:
    registry = registry_with(session("s1"), session("s2"))
    bind = registry.bind("s1", HTTPS, "/1", now=0)
    registry.patch("s1", bind.id, description=None, pooling=True)
    patched = registry.patch("s1", bind.id, description="shop", metadata="m", pooling=None)
    assert (patched.request.description, patched.request.metadata, patched.request.pooling) == ("shop", "m", True)
    registry.bind("s2", replace(HTTPS, pooling=True), "/2", now=0)
    with refused(20_005):
        registry.patch("s1", "unknown", description="x", pooling=None)


def test_one_of_a_pool_takes_no_other_policy() -> None:
    registry = registry_with(session("s1"), session("s2"))
    pooled = replace(HTTPS, pooling=True)
    bind = registry.bind("s1", pooled, "/1", now=0)
    assert registry.exchange(bind, replace(pooled, traffic_policy="{1}")).request.traffic_policy == "{1}"
    other = registry.bind("s2", replace(pooled, traffic_policy="{1}"), "/2", now=0)
    with refused(20_005):
        registry.exchange(other, replace(pooled, traffic_policy="{2}"))
    endpoint = registry.endpoint(bind.url)
    assert endpoint is not None
    assert (endpoint.traffic_policy, len(endpoint.addresses)) == ("{1}", 2)


def test_a_bind_that_comes_again_may_have_another_policy() -> None:
    registry = registry_with(session("s1"))
    bind = registry.bind("s1", replace(HTTPS, traffic_policy="{1}"), "/1", now=0)
    again = replace(HTTPS, traffic_policy="{2}", bind_id=bind.id, token=bind.token)
    registry.end_session("s1", 1)
    registry.add_session(session("s3"))
    assert registry.bind("s3", again, "/3", now=2).id == bind.id
    endpoint = registry.endpoint(bind.url)
    assert endpoint is not None
    assert endpoint.traffic_policy == "{2}"


class LiveRegistry(RuleBasedStateMachine):
    """Whatever agents do, the counts, pools and names stay one consistent picture."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(NAMING, LIMITS)
        self.now = 0.0
        self.next = 0

    def _number(self) -> int:
        self.next += 1
        return self.next

    @rule(owner=st.sampled_from([ANNA, BERT]), client=st.integers(0, 3))
    def connect(self, owner: Owner, client: int) -> None:
        known = self.registry.predecessor(f"c{client}", 0)
        if known is not None:
            self.registry.end_session(known.id, self.now)
        try:
            self.registry.add_session(session(f"s{self._number()}", owner, client_id=f"c{client}"))
        except PorticoError as error:
            assert error.code.number == 108

    @rule(
        data=st.data(),
        host=st.sampled_from(["a", "b", "*.c", None]),
        scheme=st.sampled_from(list(Scheme)),
        pooling=st.booleans(),
    )
    def bind(self, data: st.DataObject, host: str | None, scheme: Scheme, pooling: bool) -> None:
        sessions = [one.id for one in self.registry.sessions]
        if not sessions:
            return
        request = BindRequest(scheme, None if scheme is Scheme.TCP else host, pooling=pooling)
        try:
            self.registry.bind(data.draw(st.sampled_from(sessions)), request, f"/{self._number()}", self.now)
        except PorticoError as error:
            assert error.code.number in (334, 324, 20_003)

    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        sessions = [one.id for one in self.registry.sessions]
        if sessions:
            self.registry.end_session(data.draw(st.sampled_from(sessions)), self.now)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def every_url_has_an_address_and_one_place(self) -> None:
        places = set()
        for url in self.registry.urls:
            endpoint = self.registry.endpoint(url)
            assert endpoint is not None
            assert endpoint.addresses
            assert (url.host, url.port) not in places
            places.add((url.host, url.port))
            if url.scheme is not Scheme.TCP:
                assert self.registry.serves(url.host)


LiveRegistry.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLiveRegistry = LiveRegistry.TestCase


def test_an_acl_decides_what_a_session_may_bind_and_can_change() -> None:
    limited = replace(session("s1"), credential="cr_1", acl=Acl.of(["bind:app.example.com", "bind:edge.test:20001"]))
    registry = registry_with(limited)
    registry.bind("s1", HTTPS, "/1", now=0)
    assert registry.bind("s1", BindRequest(Scheme.TCP, port=20_001), "/2", now=0).url.port == 20_001
    for forbidden in (BindRequest(Scheme.HTTPS, "b.example.com"), BindRequest(Scheme.TCP), BindRequest(Scheme.HTTPS)):
        with refused(20_010):
            registry.bind("s1", forbidden, "/3", now=0)
    registry.change_acl("cr_other", Acl.of(["*"]))
    with refused(20_010):
        registry.bind("s1", BindRequest(Scheme.HTTPS, "b.example.com"), "/3", now=0)
    registry.change_acl("cr_1", Acl.of(["bind:b.example.com"]))
    registry.bind("s1", BindRequest(Scheme.HTTPS, "b.example.com"), "/3", now=0)
    assert len(registry.binds()) == 3


def test_labels_have_to_be_permitted() -> None:
    url = EndpointUrl.parse("https://labelled.edge.test")
    limited = replace(session("s1"), acl=Acl.of(["bind:app=web"]))
    registry = registry_with(limited, labelled=[(url, {"app": "web"})])
    with refused(20_010):
        registry.bind("s1", BindRequest(None, labels={"app": "web", "env": "prod"}), "/1", now=0)
    assert registry.bind("s1", BindRequest(None, labels={"app": "web"}), "/1", now=0).url == url


def test_reservations_come_and_go_while_the_edge_runs() -> None:
    registry = registry_with(session("s1"), session("s2", BERT))
    (changed,) = registry.reserve([("mine.example.com", "anna")], [(20_000, "anna")])
    assert str(changed) == "https://mine.example.com"
    assert registry.endpoint(changed) is not None
    with refused(320):
        registry.bind("s2", BindRequest(Scheme.HTTPS, "mine.example.com"), "/1", now=0)
    with refused(320):
        registry.bind("s2", BindRequest(Scheme.TCP, port=20_000), "/1", now=0)
    assert registry.bind("s1", BindRequest(Scheme.TCP), "/2", now=0).url.port == 20_001
    assert registry.bind("s1", BindRequest(Scheme.TCP, port=20_000), "/3", now=0).url.port == 20_000
    assert registry.reserve([], []) == [changed]
    assert registry.endpoint(changed) is None
    registry.bind("s2", BindRequest(Scheme.HTTPS, "mine.example.com"), "/1", now=0)


def test_a_dismissed_session_holds_no_names_and_holders_are_known() -> None:
    registry = registry_with(session("s1"), session("s2", BERT))
    registry.bind("s1", HTTPS, "/1", now=0)
    assert registry.holders("app.example.com") == {"o1"}
    registry.end_session("s1", now=0, hold=False)
    assert registry.holders("app.example.com") == set()
    registry.bind("s2", HTTPS, "/2", now=0)
    assert registry.holders("app.example.com") == {"o2"}
