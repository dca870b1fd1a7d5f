import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.model.endpoint import DEFAULT_PORTS, EdgeTls, EndpointUrl, KeyPair, Scheme, TlsVersion
from portico.model.errors import URL_INVALID, PorticoError

HOSTS = st.lists(st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True), min_size=1, max_size=4).map(".".join)


@given(st.sampled_from(Scheme), HOSTS, st.integers(1, 65_535))
def test_a_url_is_read_back_from_its_own_text(scheme: Scheme, host: str, port: int) -> None:
    url = EndpointUrl(scheme, host, port)
    assert EndpointUrl.parse(str(url)) == url
    assert EndpointUrl.parse(f"{scheme}://{host.upper()}:{port}/") == url
    assert str(url).endswith(f":{port}") is (DEFAULT_PORTS.get(scheme) != port)


@given(st.text(max_size=60))
@example("http://[::1")
@example("http://[::1]")
@example("http://a:0")
@example("tcp://a:0")
@example("tcp://a:99999")
@example("http://\u2100")
def test_any_text_is_a_url_or_refused_with_its_code(text: str) -> None:
    for candidate in (text, f"https://{text}"):
        try:
            url = EndpointUrl.parse(candidate)
        except PorticoError as error:
            assert error.code is URL_INVALID
        else:
            assert EndpointUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "ftp://a",
        "http://",
        "http://a/path",
        "http://a?q",
        "http://a#f",
        "http://u:p@a",
        "http://@a",
        "tcp://a",
    ],
)
def test_more_or_less_than_scheme_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(PorticoError):
        EndpointUrl.parse(text)


def test_default_ports_are_the_schemes_own() -> None:
    assert str(EndpointUrl.parse("https://a:443")) == "https://a"
    assert str(EndpointUrl.parse("https://a:80")) == "https://a:80"
    assert EndpointUrl.parse("tls://a").port == 443


def test_only_other_tls_than_the_edge_s_needs_a_chain_of_its_own() -> None:
    least = TlsVersion.TLS_1_2
    assert EdgeTls().fits_all(least)
    assert EdgeTls(key_pair=KeyPair("cert", "key")).fits_all(least)
    assert not EdgeTls(client_authorities="pem").fits_all(least)
    assert not EdgeTls(minimum=TlsVersion.TLS_1_3).fits_all(least)
    assert EdgeTls(minimum=TlsVersion.TLS_1_3).fits_all(TlsVersion.TLS_1_3)


def test_a_key_is_never_shown() -> None:
    assert "very-secret" not in repr(EdgeTls(key_pair=KeyPair("cert", "very-secret")))
