from portico.edge.bind_request import BindRequest, PoolRequest
from portico.edge.led_to import Followers
from portico.edge.naming import Naming
from portico.edge.registry import Limits, Registry, Session
from portico.model.endpoint import Endpoint, EndpointUrl, HostPort, Pool, Scheme, UnixSocket
from portico.model.owner import Owner
from portico.model.route import Backend, Route

OWNER = Owner("ow_1", "default", None, None)
NAMING = Naming("edge.test", 8443, 80, range(20_000, 20_010))
DOOR, SEARCH = (EndpointUrl(Scheme.HTTPS, f"{name}.test", 8443) for name in ("door", "search"))
WRITTEN = EndpointUrl.parse("https://search.test")


def live() -> Registry:
    registry = Registry(NAMING, Limits(10, 10))
    for name in ("settings", "s1", "s2"):
        registry.add_session(Session(name, "r0", name, 0, OWNER, ""))
    return registry


def routed(host: str, *pools: PoolRequest, **fields: bool) -> BindRequest:
    routes = (Route("all", (), tuple(Backend(pool.name) for pool in pools)),)
    return BindRequest(Scheme.HTTPS, host, routes=routes, pools=pools, **fields)


def pools(registry: Registry) -> tuple[Pool, ...]:
    endpoint = registry.endpoint(DOOR)
    assert endpoint is not None
    return endpoint.pools


def test_a_pool_is_what_serves_the_endpoint_now() -> None:
    registry = live()
    direct = PoolRequest("direct", (HostPort("10.0.0.5", 80),), upstream_http=2)
    registry.bind("settings", routed("door.test", direct, PoolRequest("search", endpoint=WRITTEN)), "/x", 0)
    assert pools(registry) == (
        Pool("direct", direct.upstreams, upstream_http=2),
        Pool("search", (), source=SEARCH),
    )
    for session in ("s1", "s2"):
        request = BindRequest(Scheme.HTTPS, "search.test", pooling=True, upstream_http=2, host_header="inner")
        registry.bind(session, request, f"/{session}", 0)
    assert pools(registry)[1] == Pool(
        "search", (UnixSocket("/s1"), UnixSocket("/s2")), 2, False, "inner", source=SEARCH
    )
    registry.end_session("s1", 0)
    assert pools(registry)[1].addresses == (UnixSocket("/s2"),)
    registry.end_session("s2", 0)
    assert pools(registry)[1].addresses == ()


def test_routes_have_no_address_of_their_session() -> None:
    registry = live()
    registry.bind("settings", routed("door.test", PoolRequest("search", endpoint=WRITTEN), pooling=True), "/x", 0)
    endpoint = registry.endpoint(DOOR)
    assert endpoint is not None
    assert endpoint.addresses == ()
    registry.bind("s1", BindRequest(Scheme.HTTPS, "door.test", pooling=True), "/s1", 0)
    endpoint = registry.endpoint(DOOR)
    assert endpoint is not None
    assert (endpoint.addresses, len(endpoint.routes)) == ((UnixSocket("/s1"),), 1)
    assert registry.unbind("settings", next(one.id for one in registry.binds() if one.session == "settings")) == DOOR
    registry.bind("settings", routed("door.test", PoolRequest("search", endpoint=WRITTEN), pooling=True), "/x", 0)
    endpoint = registry.endpoint(DOOR)
    assert endpoint is not None
    assert (endpoint.addresses, len(endpoint.routes)) == ((UnixSocket("/s1"),), 1)
    registry.end_session("s1", 0)
    registry.end_session("settings", 0)
    held = registry.endpoint(DOOR)
    assert held is not None
    assert held.routes == ()


def test_what_has_routes_is_no_pool() -> None:
    registry = live()
    registry.bind("settings", routed("door.test", PoolRequest("search", endpoint=WRITTEN)), "/x", 0)
    back = PoolRequest("door", endpoint=EndpointUrl.parse("https://door.test"))
    registry.bind("settings", routed("search.test", back), "/y", 0)
    assert pools(registry) == ()


def test_followers() -> None:
    followers, other = Followers(), EndpointUrl(Scheme.HTTPS, "other.test", 8443)
    door = Endpoint(DOOR, (), pools=(Pool("a", (), source=SEARCH), Pool("b", (), source=other), Pool("c", ())))
    followers.note(DOOR, door)
    followers.note(SEARCH, Endpoint(SEARCH, (), pools=(Pool("b", (), source=other),)))
    assert (followers.of(SEARCH), followers.of(other)) == ([DOOR], [DOOR, SEARCH])
    followers.note(DOOR, Endpoint(DOOR, (), pools=(Pool("b", (), source=other),)))
    assert (followers.of(SEARCH), followers.of(other)) == ([], [DOOR, SEARCH])
    followers.note(DOOR, None)
    followers.note(SEARCH, None)
    assert followers.of(other) == []
