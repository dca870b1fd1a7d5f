from hypothesis import example, given
from hypothesis import strategies as st

from portico.model.edge import EdgeFrame, SocketAddress
from portico.model.endpoint import EdgeTls, Endpoint, EndpointUrl, KeyPair, Scheme, TlsVersion
from portico.model.names import candidates
from portico.translate import names
from portico.translate.chains import chain_of
from portico.translate.sni import SniTable, Way, filter_chain_matcher

FRAME = EdgeFrame("d.test", SocketAddress("::1", 443), None, "::1", ("a",), "b", "x-mark")
LABELS = st.lists(st.sampled_from(["a", "b", "d", "test"]), min_size=1, max_size=4)
HOSTS = st.builds(lambda labels, wild: ("*." if wild else "") + ".".join(labels), LABELS, st.booleans())
SETTINGS = st.sampled_from(
    [None, EdgeTls(), EdgeTls(minimum=TlsVersion.TLS_1_3), EdgeTls(key_pair=KeyPair("certificate", "key"))]
)


def endpoint(host: str, settings: EdgeTls | None) -> Endpoint:
    scheme = Scheme.TLS if settings is None else Scheme.HTTPS
    return Endpoint(EndpointUrl(scheme, host, 443), (), settings)


def lookup(table: SniTable, server_name: str) -> str:
    """What Envoy's ServerNameMatcher does."""
    chains = {}
    tree = filter_chain_matcher(table, FRAME)["matcher_tree"]
    for matcher in tree["custom_match"]["typed_config"]["domain_matchers"]:
        for domain in matcher["domains"]:
            assert domain not in chains
            chains[domain] = matcher["on_match"]["action"]["typed_config"]["value"]
    return next(chains[name] for name in [*candidates(server_name), "*"] if name in chains)


@example({"*.d.test": None, "a.d.test": EdgeTls()}, [], ["a", "d", "test"])
@example({"*.d.test": EdgeTls()}, [], ["b", "d", "test"])
@given(st.dictionaries(HOSTS, SETTINGS, max_size=6), st.lists(HOSTS, max_size=3), LABELS)
def test_each_name_enters_by_the_chain_of_its_most_specific_endpoint(
    wanted: dict[str, EdgeTls | None], passing: list[str], labels: list[str]
) -> None:
    table = SniTable()
    for host in passing:
        table = table.with_endpoint(endpoint(host, None), FRAME)
    for host in passing:
        table = table.without(EndpointUrl(Scheme.TLS, host, 443))
    for host, settings in wanted.items():
        table = table.with_endpoint(endpoint(host, settings), FRAME)
    server_name = ".".join(labels)
    if server_name in ("d.test", "connect.d.test", "localhost"):  # the frame's, whatever endpoints there are
        assert lookup(table, server_name) == names.CONNECT_CHAIN
        return
    serving = next((host for host in candidates(server_name) if host in wanted), None)
    if serving is None:
        assert lookup(table, server_name) in (names.EDGE_CHAIN, names.ON_DEMAND_CHAIN)
        return
    frames = "*.d.test" in candidates(server_name) and "*.d.test" not in wanted
    nearer = len(serving) < len("*.d.test") if serving.startswith("*.") else False
    if not (frames and nearer):
        assert lookup(table, server_name) == chain_of(endpoint(serving, wanted[serving]), FRAME)


def test_what_changes_nothing_is_the_same_table() -> None:
    usual, special = endpoint("a.owned.test", EdgeTls()), endpoint("b.owned.test", None)
    table = SniTable().with_endpoint(usual, FRAME).with_endpoint(special, FRAME)
    assert table.with_endpoint(usual, FRAME) is table
    assert table.with_endpoint(special, FRAME) is table
    assert table.without(EndpointUrl.parse("tls://c.owned.test")) is table
    assert table.without(EndpointUrl.parse("http://b.owned.test")) is table
    assert table.chains() == {"b.owned.test": Way(names.PASS_THROUGH_CHAIN)}


def test_an_endpoint_may_change_its_chain() -> None:
    table = SniTable()
    for settings in (EdgeTls(), None, EdgeTls(minimum=TlsVersion.TLS_1_3), EdgeTls()):
        table = table.with_endpoint(endpoint("a.owned.test", settings), FRAME)
    assert not table.matches_like(SniTable().with_endpoint(endpoint("a.owned.test", None), FRAME))
    assert table == SniTable({}, {"a.owned.test": Way(names.ON_DEMAND_CHAIN)})


def test_when_the_listener_must_follow() -> None:
    table = SniTable().with_endpoint(endpoint("b.owned.test", None), FRAME)
    assert table.with_endpoint(endpoint("a.owned.test", EdgeTls()), FRAME).matches_like(table)
    wild = table.with_endpoint(endpoint("*.owned.test", None), FRAME)
    assert not wild.matches_like(table)
    assert not wild.with_endpoint(endpoint("a.owned.test", EdgeTls()), FRAME).matches_like(wild)
    assert wild.with_endpoint(endpoint("a.other.test", EdgeTls()), FRAME).matches_like(wild)
    assert wild.without(EndpointUrl.parse("tls://*.owned.test")) == table
