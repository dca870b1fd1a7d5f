import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.agent.upstream import Upstream, UpstreamScheme, parse_upstream
from portico.model.errors import UPSTREAM_INVALID, PorticoError

HTTP, HTTPS, TCP, TLS = UpstreamScheme.HTTP, UpstreamScheme.HTTPS, UpstreamScheme.TCP, UpstreamScheme.TLS


@pytest.mark.parametrize(
    ("address", "upstream"),
    [
        (8080, Upstream(HTTP, "localhost", 8080)),
        ("8080", Upstream(HTTP, "localhost", 8080)),
        (":8080", Upstream(HTTP, "localhost", 8080)),
        ("example.com", Upstream(HTTP, "example.com", 80)),
        ("example.com:8080", Upstream(HTTP, "example.com", 8080)),
        ("example.com:443", Upstream(HTTPS, "example.com", 443)),
        ("443", Upstream(HTTPS, "localhost", 443)),
        ("http://example.com:443", Upstream(HTTP, "example.com", 443)),
        ("HTTPS://example.com/", Upstream(HTTPS, "example.com", 443)),
        ("https://localhost:8443", Upstream(HTTPS, "localhost", 8443)),
        ("[::1]:8080", Upstream(HTTP, "::1", 8080)),
        ("http://[::1]", Upstream(HTTP, "::1", 80)),
        ("unix:/run/app.sock", Upstream(UpstreamScheme.UNIX, path="/run/app.sock")),
        ("unix:///run/app.sock", Upstream(UpstreamScheme.UNIX, path="/run/app.sock")),
        ("unix:app with space.sock", Upstream(UpstreamScheme.UNIX, path="app with space.sock")),
        ("file:///srv/my%20site", Upstream(UpstreamScheme.FILE, path="/srv/my site")),
        ("file://localhost/srv", Upstream(UpstreamScheme.FILE, path="/srv")),
        ("my_service:80", Upstream(HTTP, "my_service", 80)),
    ],
)
def test_http_addresses(address: str | int, upstream: Upstream) -> None:
    assert parse_upstream(address) == upstream


@pytest.mark.parametrize(
    ("address", "upstream"),
    [
        ("22", Upstream(TCP, "localhost", 22)),
        ("db:443", Upstream(TCP, "db", 443)),
        ("tcp://db:5432", Upstream(TCP, "db", 5432)),
        ("tls://db:5432", Upstream(TLS, "db", 5432)),
        ("https://db", Upstream(HTTPS, "db", 443)),
        ("unix:/run/db.sock", Upstream(UpstreamScheme.UNIX, path="/run/db.sock")),
    ],
)
def test_tcp_addresses(address: str, upstream: Upstream) -> None:
    assert parse_upstream(address, http=False) == upstream


@pytest.mark.parametrize(
    ("address", "http", "reason"),
    [
        ("", True, "empty"),
        ("0", True, "not a port"),
        ("65536", True, "not a port"),
        ("host:", True, "not a port"),
        ("host:http", True, "not a port"),
        ("host:1:2", True, "brackets"),
        ("::1", True, "brackets"),
        ("[::1", True, "malformed"),
        ("[host]:80", True, "malformed"),
        ("ftp://host", True, "not known"),
        ("http://", True, "no host name"),
        ("http://host/path", True, "more than"),
        ("http://host?x=1", True, "more than"),
        ("http://user:secret@host", True, "do not belong"),
        ("ho st:80", True, "blanks"),
        ("host\n:80", True, "control"),
        ("-host:80", True, "not a host name"),
        ("unix:", True, "names no socket"),
        ("file://srv", True, "absolute"),
        ("file://server/share", True, "absolute"),
        ("file:///srv%00", True, "NUL"),
        ("file:///srv", False, "only http"),
        ("host", False, "no port"),
        ("tcp://host", False, "no port"),
    ],
)
def test_bad_addresses_say_why(address: str, http: bool, reason: str) -> None:
    with pytest.raises(PorticoError, match=reason) as caught:
        parse_upstream(address, http=http)
    assert caught.value.code is UPSTREAM_INVALID


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(PorticoError) as caught:
        parse_upstream("http://user:secret@host")
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60), st.booleans())
@example("http://[", True)
@example("[]", True)
@example("http://[::1]]:80", True)
def test_any_text_is_an_upstream_or_an_error(text: str, http: bool) -> None:
    try:
        upstream = parse_upstream(text, http=http)
    except PorticoError as error:
        assert error.code is UPSTREAM_INVALID
        return
    if upstream.scheme is not UpstreamScheme.FILE:  # its text is not escaped
        assert parse_upstream(str(upstream), http=http) == upstream
