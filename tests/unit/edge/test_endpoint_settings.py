from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kit.key_pairs import KeyPairs
from portico.edge.bind_request import BindRequest
from portico.edge.endpoint_settings import EndpointSettings
from portico.edge.settings_sources import load_settings
from portico.edge.upstream_settings import UpstreamSettings
from portico.model.endpoint import AddressTls, HostPort, Scheme, TlsVersion
from portico.model.errors import PorticoError


def requested(directory: Path, text: str) -> BindRequest:
    (directory / "edge.yml").write_text(f"endpoints:\n  - {text}\n")
    settings = load_settings({"config": str(directory / "edge.yml")}, {})
    return settings.endpoints[0].request()


def problem(directory: Path, text: str) -> str:
    with pytest.raises(PorticoError) as caught:
        requested(directory, text)
    return caught.value.message.replace(f"{directory}/", "")


@pytest.mark.parametrize(
    ("endpoint", "upstream", "address"),
    [
        ("https://a.example", "http://10.0.0.5:8080", HostPort("10.0.0.5", 8080)),
        ("http://a.example", "10.0.0.5", HostPort("10.0.0.5", 80)),
        ("https://a.example", "[2001:DB8::1]:81", HostPort("2001:db8::1", 81)),
        ("https://a.example", "Service.Internal", HostPort("service.internal", 80)),
        ("https://a.example", "https://s.internal", HostPort("s.internal", 443, tls=AddressTls("s.internal"))),
        ("tcp://a.example:20000", "db.internal:5432", HostPort("db.internal", 5432)),
        ("tls://a.example", "tls://10.0.0.5:443", HostPort("10.0.0.5", 443, tls=AddressTls("10.0.0.5"))),
    ],
)
def test_upstreams(tmp_path: Path, endpoint: str, upstream: str, address: HostPort) -> None:
    request = requested(tmp_path, f"{{url: '{endpoint}', upstreams: ['{upstream}']}}")
    assert request.upstreams == (address,)
    assert request.forwards_to == upstream


def test_everything_an_endpoint_may_have(tmp_path: Path) -> None:
    pairs = KeyPairs(tmp_path, "ca")
    certificate, key = pairs.issue("a.example")
    request = requested(
        tmp_path,
        f"""url: https://a.example
    upstreams:
      - {{url: 'https://10.0.0.5:8443', weight: 3, ca_file: ca.ca.pem, server_name: s.internal}}
      - http://10.0.0.6:8080
    upstream_protocol: http2
    host_header: inner
    proxy_protocol: true
    pooling: true
    certificate_file: {certificate.name}
    key_file: {key.name}
    client_ca_file: ca.ca.pem
    tls_min_version: 1.3""",
    )
    first, second = request.upstreams
    assert first == HostPort("10.0.0.5", 8443, 3, AddressTls("s.internal", pairs.ca.read_text()))
    assert second == HostPort("10.0.0.6", 8080)
    assert (request.scheme, request.host, request.upstream_http) == (Scheme.HTTPS, "a.example", 2)
    assert (request.host_header, request.proxy_protocol, request.pooling) == ("inner", 2, True)
    assert request.tls is not None
    assert request.tls.key_pair is not None
    assert request.tls.client_authorities is not None
    assert request.tls.minimum is TlsVersion.TLS_1_3
    assert "PRIVATE" not in repr(load_settings({"config": str(tmp_path / "edge.yml")}, {}))


@pytest.mark.parametrize(
    ("fields", "ends"), [("", False), (", terminate_at: upstream", False), (", terminate_at: edge", True)]
)
def test_where_tls_ends(tmp_path: Path, fields: str, ends: bool) -> None:
    request = requested(tmp_path, f"{{url: 'tls://a.example', upstreams: ['10.0.0.5:443']{fields}}}")
    assert (request.tls is not None) is ends


HTTPS = "{url: https://a.example, upstreams: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{url: https://a.example}", "endpoints[0]: https://a.example needs labels (of tunnels) or upstreams"),
        (HTTPS + "[1.2.3.4], labels: {a: b}}", "needs labels (of tunnels) or upstreams, one of the two"),
        ("{url: https://a.example, labels: {a: b}, pooling: true}", "pooling: only for an endpoint with upstreams"),
        (HTTPS + "[]}", "one of the two"),
        (HTTPS + "[1.2.3.4, 'http://']}", "edge.yml:2: endpoints[0].upstreams[1].url: 'http://' "),
        (HTTPS + "[true]}", "endpoints[0].upstreams[0].url: True is not an upstream"),
        (HTTPS + "[{url: 1.2.3.4, weight: 0}]}", "endpoints[0].upstreams[0].weight: input should be greater"),
        (HTTPS + "[{url: 1.2.3.4, wieght: 2}]}", "wieght: there is no such key; did you mean 'weight'?"),
        (HTTPS + "[{weight: 2}]}", "endpoints[0].upstreams[0].url: this key is missing"),
        (HTTPS + "['unix:/run/a.sock']}", "upstream 'unix:/run/a.sock' does not fit the endpoint"),
        (HTTPS + "['tls://1.2.3.4:443']}", "whose upstreams are http:// and https://"),
        (HTTPS + "['http://1.2.3.400']}", "'1.2.3.400' is not an IP address"),
        (HTTPS + "['http://[fe80::1%25eth0]:80']}", "is not an"),
        (HTTPS + "[{url: 1.2.3.4, ca_file: ca.ca.pem}]}", "ca_file and server_name mean nothing to it"),
        (HTTPS + "[{url: 'https://a', ca_file: gone.pem}]}", "upstreams[0].ca_file: cannot read 'gone.pem'"),
        (HTTPS + "[{url: 'https://a', ca_file: a.example.crt}]}", "ca_file: "),
        (HTTPS + "[1.2.3.4], certificate_file: a.example.crt}", "certificate_file and key_file go together"),
        (HTTPS + "[1.2.3.4], key_file: ca.ca.pem}", "'ca.ca.pem' has no PEM private key"),
        (HTTPS + "[1.2.3.4], client_ca_file: a.example.crt}", "client_ca_file: "),
        (HTTPS + "[1.2.3.4], terminate_at: edge}", "terminate_at is for tls endpoints"),
        (HTTPS + "[1.2.3.4], terminate_at: agent}", "endpoints[0].terminate_at: input should be 'edge' or 'upstream'"),
        ("{url: 'tls://a.example', upstreams: ['a:1'], client_ca_file: ca.ca.pem}", "does not end at the edge"),
        ("{url: 'tls://a.example', upstreams: ['a:1'], host_header: x}", "are for http and https"),
        ("{url: 'tcp://a.example:1', upstreams: ['a:1']}", "port 1 is outside of this edge's range"),
        ("{url: 'https://api.localhost', upstreams: [a]}", "api.localhost belongs to the edge itself"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    certificate, _ = KeyPairs(tmp_path, "ca").issue("a.example")
    certificate.rename(tmp_path / "a.example.crt")
    told = problem(tmp_path, text)
    assert message in told
    assert told.startswith("edge.yml:")


@given(st.text(max_size=60))
def test_any_text_is_an_upstream_or_refused(text: str) -> None:
    try:
        upstream = UpstreamSettings.model_validate({"url": text})
        address = upstream.address(http=True)
    except (ValidationError, ValueError):
        return
    assert 0 < address.port < 65_536
    assert EndpointSettings.model_validate({"url": "https://a.example", "upstreams": [text]}).request().upstreams
