"""Files and flags become the agent's values."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from portico.agent.bind import BindKind, SignIn
from portico.agent.upstream import UpstreamScheme
from portico.cli.config.endpoints import Forwarding, entry_forwardings, forwardings
from portico.cli.config.models import EndpointKeys, Tunnel
from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, UPSTREAM_INVALID, URL_INVALID, PorticoError


def one(**keys: Any) -> Forwarding:
    [only] = forwardings("name", Tunnel.model_validate({"addr": "80", "proto": "http", **keys}))
    return only


@pytest.mark.parametrize(
    ("keys", "kind", "url"),
    [
        ({}, BindKind.HTTPS, ""),
        ({"url": "https://"}, BindKind.HTTPS, ""),
        ({"url": "http://"}, BindKind.HTTP, ""),
        ({"url": "App.Example.com"}, BindKind.HTTPS, "https://app.example.com"),
        ({"url": "http://app.example.com"}, BindKind.HTTP, "http://app.example.com"),
        ({"url": "https://app.example.com:443"}, BindKind.HTTPS, "https://app.example.com"),
        ({"domain": "*.example.com"}, BindKind.HTTPS, "https://*.example.com"),
        ({"hostname": "a.example", "schemes": ("http",)}, BindKind.HTTP, "http://a.example"),
        ({"proto": "tls"}, BindKind.TLS, ""),
        ({"proto": "tls", "url": "a.example"}, BindKind.TLS, "tls://a.example"),
        ({"proto": "tcp"}, BindKind.TCP, ""),
        ({"proto": "tcp", "url": "tcp://"}, BindKind.TCP, ""),
        ({"proto": "tcp", "remote_addr": "edge.example:2000"}, BindKind.TCP, "tcp://edge.example:2000"),
    ],
)
def test_names(keys: dict[str, Any], kind: BindKind, url: str) -> None:
    made = one(**keys)
    assert (made.bind.kind, made.bind.url) == (kind, url)


def test_subdomain_is_left_to_the_edge() -> None:
    assert one(subdomain="web").bind.subdomain == "web"


def test_both_schemes_make_two_endpoints() -> None:
    both = forwardings("web", Tunnel(addr="80", proto="http", schemes=("http", "https"), domain="a.example"))
    assert [(each.name, each.bind.url) for each in both] == [
        ("web", "http://a.example"),
        ("web (https)", "https://a.example"),
    ]


@pytest.mark.parametrize("labels", [{"env": "prod"}, ("env=prod",)])
def test_labels(labels: object) -> None:
    made = one(proto=None, labels=labels)
    assert (made.bind.kind, made.bind.labels) == (BindKind.LABELED, {"env": "prod"})


def test_every_option_of_an_http_endpoint_arrives() -> None:
    made = one(
        addr="https://localhost:8443",
        name="n",
        description="d",
        metadata="m",
        bindings=("internal",),
        pooling_enabled=True,
        inspect=False,
        upstream_protocol="http2",
        upstream_proxy_protocol="2",
        upstream_tls_verify=True,
        traffic_policy={"on_http_request": []},
        basic_auth=("u:p:q",),
        circuit_breaker=0.5,
        compression=True,
        ip_restriction={"allow_cidrs": ["10.0.0.0/8"], "deny_cidrs": ["10.1.0.0/16"]},
        oauth={"provider": "google", "allow_domains": ["a.example"], "client_secret": "s"},
        oidc={"issuer_url": "https://i", "client_id": "c"},
        request_header={"add": ["x-a: b"], "remove": ["x-c"]},
        response_header={"add": ["x-d: e:f"], "remove": ["x-g"]},
        user_agent_filter={"allow": ["a"], "deny": ["b"]},
        verify_webhook={"provider": "slack", "secret": "w"},
        websocket_tcp_converter=True,
        host_header="rewrite",
    )
    bind, http = made.bind, made.bind.http
    assert (made.upstream.scheme, made.upstream_tls.verify, made.inspect) == (UpstreamScheme.HTTPS, True, False)
    assert (bind.name, bind.description, bind.metadata, bind.bindings, bind.pooling) == (
        "n",
        "d",
        "m",
        ("internal",),
        True,
    )
    assert (bind.app_protocol, bind.proxy_protocol, bind.traffic_policy) == ("http2", 2, '{"on_http_request": []}')
    assert (bind.allow_cidrs, bind.deny_cidrs) == (("10.0.0.0/8",), ("10.1.0.0/16",))
    assert http.basic_auth == (("u", "p:q"),)
    assert (http.circuit_breaker, http.compression, http.websocket_tcp_converter) == (0.5, True, True)
    assert http.oauth == SignIn(provider="google", allow_domains=("a.example",), client_secret="s")
    assert http.oidc == SignIn(issuer_url="https://i", client_id="c")
    assert http.request_header_add == (("x-a", "b"), ("host", "localhost:8443"))
    assert (http.request_header_remove, http.response_header_remove) == (("x-c",), ("x-g",))
    assert http.response_header_add == (("x-d", "e:f"),)
    assert (http.allow_user_agents, http.deny_user_agents) == (("a",), ("b",))
    assert (http.webhook_provider, http.webhook_secret) == ("slack", "w")


@pytest.mark.parametrize(("word", "added"), [("preserve", ()), ("a.example", (("host", "a.example"),))])
def test_host_header(word: str, added: object) -> None:
    assert one(host_header=word).bind.http.request_header_add == added


def test_version_3_says_the_same_as_version_2() -> None:
    entry = EndpointKeys.model_validate(
        {
            "name": "web",
            "url": "http://a.example",
            "description": "d",
            "metadata": "m",
            "bindings": ["public"],
            "pooling_enabled": True,
            "traffic_policy": {"on_http_request": []},
            "upstream": {"url": "8080", "protocol": "http2", "proxy_protocol": "1"},
        }
    )
    tunnel = Tunnel(
        name="web",
        addr="8080",
        proto="http",
        url="http://a.example",
        description="d",
        metadata="m",
        bindings=("public",),
        pooling_enabled=True,
        traffic_policy={"on_http_request": []},
        upstream_protocol="http2",
        proxy_proto="1",
    )
    assert entry_forwardings("web", entry) == entry_forwardings("web", tunnel)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"addr": None}, UPSTREAM_INVALID),
        ({"addr": ""}, UPSTREAM_INVALID),
        ({"proto": None}, OPTION_INVALID),
        ({"labels": ("a=b",)}, OPTION_INVALID),
        ({"proto": None, "labels": ("a",)}, OPTION_INVALID),
        ({"proto": None, "labels": ("=b",)}, OPTION_INVALID),
        ({"url": "a.example", "domain": "b.example"}, OPTION_INVALID),
        ({"url": "tls://a.example"}, OPTION_INVALID),
        ({"url": "https://a.example", "schemes": ("http",)}, OPTION_INVALID),
        ({"url": "https://a.example/x"}, URL_INVALID),
        ({"proto": "tcp", "url": "edge.example"}, URL_INVALID),
        ({"proto": "tcp", "url": "edge.example:99999"}, URL_INVALID),
        ({"proxy_proto": "1", "upstream_proxy_protocol": "2"}, OPTION_INVALID),
        ({"traffic_policy": {"a": 1}, "traffic_policy_file": "f"}, OPTION_INVALID),
        ({"crt": "a"}, OPTION_INVALID),
        ({"proto": "tls", "crt": "a"}, CERTIFICATE_INVALID),
        ({"proto": "tls", "key": "a"}, CERTIFICATE_INVALID),
        ({"proto": "tls", "terminate_at": "agent"}, OPTION_INVALID),
        ({"mutual_tls_cas": ("\0",)}, CERTIFICATE_INVALID),
        ({"upstream_tls_verify_cas": "missing.pem"}, CERTIFICATE_INVALID),
    ],
)
def test_what_cannot_be(keys: dict[str, Any], code: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PorticoError) as caught:
        one(**keys)
    assert caught.value.code is code


class Pair:
    """A self-signed certificate and its key, as files."""

    def __init__(self, directory: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        self.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        self.locked = directory / f"{name}.locked"
        self.locked.write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair]:
    directory = tmp_path_factory.mktemp("pairs")
    return Pair(directory, "a"), Pair(directory, "b")


def test_where_tls_ends(pairs: tuple[Pair, Pair]) -> None:
    pair, other = pairs
    files = {"crt": str(pair.certificate), "key": str(pair.key)}
    through = one(proto="tls")
    assert (through.bind.edge_tls, through.agent_tls) == (False, None)
    at_edge = one(proto="tls", **files)
    assert at_edge.bind.edge_tls
    assert at_edge.bind.key_pair is not None
    assert at_edge.bind.key_pair.certificate == pair.certificate.read_text()
    automatic = one(proto="tls", terminate_at="edge")
    assert (automatic.bind.edge_tls, automatic.bind.key_pair) == (True, None)
    asked = one(proto="tls", mutual_tls_cas=(str(other.certificate),))
    assert asked.bind.edge_tls
    assert asked.bind.visitor_authorities == other.certificate.read_text()
    at_agent = one(proto="tls", terminate_at="agent", mutual_tls_cas=(str(other.certificate),), **files)
    assert at_agent.agent_tls is not None
    assert (at_agent.bind.edge_tls, at_agent.bind.key_pair, at_agent.bind.visitor_authorities) == (False, None, "")
    assert at_agent.agent_tls.client_authorities == other.certificate.read_text()
    http = one(mutual_tls_cas=(str(pair.certificate), str(other.certificate)))
    assert http.bind.visitor_authorities.count("BEGIN CERTIFICATE") == 2
    with pytest.raises(PorticoError, match="upstream"):
        one(proto="tls", terminate_at="upstream", **files)


def test_pem_itself_instead_of_a_file(pairs: tuple[Pair, Pair]) -> None:
    keys = {
        "server_certificate": pairs[0].certificate.read_text(),
        "server_private_key": pairs[0].key.read_text(),
        "mutual_tls_certificate_authorities": [pairs[1].certificate.read_text()],
    }
    entry = {"name": "a", "url": "tls://a.example", "upstream": {"url": "80"}, "agent_tls_termination": keys}
    [made] = entry_forwardings("a", EndpointKeys.model_validate(entry))
    assert made.agent_tls is not None
    assert made.agent_tls.key_pair.key == pairs[0].key.read_text()
    with pytest.raises(PorticoError, match="a: crt, key and terminate_at belong to tls"):
        entry_forwardings("a", EndpointKeys.model_validate({**entry, "url": "https://a.example"}))


def test_keys_that_do_not_fit(pairs: tuple[Pair, Pair]) -> None:
    pair, other = pairs
    for crt, key, words in (
        (pair.certificate, other.key, "is not that of"),
        (pair.certificate, pair.locked, "is encrypted"),
        (pair.certificate, pair.certificate, "no private key"),
        (pair.key, pair.key, "no certificate"),
    ):
        with pytest.raises(PorticoError, match=words) as caught:
            one(proto="tls", crt=str(crt), key=str(key))
        assert caught.value.code is CERTIFICATE_INVALID
    with pytest.raises(PorticoError, match="no certificate"):
        one(mutual_tls_cas=(str(pair.key),))
