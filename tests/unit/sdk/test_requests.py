import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.client_certificates import SERVER, VisitorAuthority
from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.agent.upstream_tls import UpstreamTls
from portico.model.endpoint import TlsVersion
from portico.model.errors import AUTHTOKEN_MISSING, CERTIFICATE_INVALID, OPTION_INVALID, PorticoError
from portico.sdk.options import check_options
from portico.sdk.requests import session_settings, terminated, upstream_tls

EDGE = {"connect_url": "edge.example.com", "authtoken": "tok"}


def bind(proto: str = "http", **options: Any) -> BindRequest:
    return terminated(check_options(options, proto), proto, "http://localhost:80")[1]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORTICO_AUTHTOKEN", "NGROK_AUTHTOKEN", "PORTICO_CONNECT_URL", "PORTICO_CONNECT_CAS"):
        monkeypatch.delenv(name, raising=False)


def test_where_the_token_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"connect_url": "edge"}
    with pytest.raises(PorticoError) as caught:
        session_settings(options, None)
    assert caught.value.code is AUTHTOKEN_MISSING
    monkeypatch.setenv("NGROK_AUTHTOKEN", "ngrok's")
    assert session_settings(options, None).authtoken == "ngrok's"
    monkeypatch.setenv("PORTICO_AUTHTOKEN", "ours")
    assert session_settings(options, None).authtoken == "ours"
    assert session_settings(options, "set").authtoken == "set"
    assert session_settings({**options, "authtoken_from_env": True}, "set").authtoken == "ours"
    assert session_settings({**options, "authtoken": "given"}, "set").authtoken == "given"


def test_where_the_edge_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PorticoError, match="connect_url"):
        session_settings({"authtoken": "t"}, None)
    monkeypatch.setenv("PORTICO_CONNECT_URL", "environment:1")
    monkeypatch.setenv("PORTICO_CONNECT_CAS", "/ca.pem")
    found = session_settings({"authtoken": "t"}, None)
    assert (found.edge, found.connect_cas) == (EdgeAddress("environment", 1), "/ca.pem")
    given = session_settings({"authtoken": "t", "server_addr": "given:2", "root_cas": "host"}, None)
    assert (given.edge, given.connect_cas) == (EdgeAddress("given", 2), "host")


def test_equal_options_mean_the_same_session() -> None:
    assert session_settings(EDGE, None) == session_settings(dict(EDGE), None)
    assert hash(session_settings(EDGE, None)) == hash(session_settings(dict(EDGE), None))


@pytest.mark.parametrize(
    ("options", "kind", "url"),
    [
        ({}, BindKind.HTTPS, ""),
        ({"domain": "a.example"}, BindKind.HTTPS, "https://a.example"),
        ({"hostname": "a.example"}, BindKind.HTTPS, "https://a.example"),
        ({"domain": "a.example", "schemes": "HTTP"}, BindKind.HTTP, "http://a.example"),
        ({"schemes": ["https", "http"]}, BindKind.HTTP, ""),
        ({"schemes": ["http", "https"]}, BindKind.HTTPS, ""),
        ({"url": "http://a.example"}, BindKind.HTTP, "http://a.example"),
    ],
)
def test_names_and_schemes(options: dict[str, Any], kind: BindKind, url: str) -> None:
    request = bind(**options)
    assert (request.kind, request.url) == (kind, url)


AUTHORITY = VisitorAuthority()
OTHER = VisitorAuthority("other")
PAIR = AUTHORITY.issue(dns=["a.example"], usage=SERVER)
OWN: dict[str, Any] = {"crt": PAIR.certificate, "key": PAIR.key}


def test_where_tls_ends() -> None:
    assert not bind("tls").edge_tls
    assert bind("tls", crt=bytearray(), key=bytearray()).edge_tls
    cas = [bytearray(AUTHORITY.pem.encode()), OTHER.pem]
    own = bind("tls", crt=PAIR.certificate, key=PAIR.key.encode(), mutual_tls_cas=cas)
    assert own.edge_tls
    assert own.key_pair == PAIR
    assert own.visitor_authorities == f"{AUTHORITY.pem}\n{OTHER.pem}"


def test_row_1_17_and_2_7_tls_that_ends_in_this_process() -> None:
    at_agent = {"terminate_at": "agent", "domain": "a.example", "mutual_tls_cas": AUTHORITY.pem, **OWN}
    here, there = terminated(check_options(at_agent, "tls"), "tls", "")
    assert here is not None
    assert (here.key_pair, here.client_authorities) == (PAIR, AUTHORITY.pem)
    assert (there.edge_tls, there.key_pair, there.visitor_authorities) == (False, None, "")
    assert "PRIVATE" not in json.dumps(there.wire())


@pytest.mark.parametrize(
    ("proto", "options", "code", "words"),
    [
        ("tls", {"terminate_at": "agent"}, OPTION_INVALID, "needs crt and key"),
        ("tls", {"terminate_at": "agnet"}, OPTION_INVALID, "did you mean 'agent'"),
        ("tls", {"terminate_at": "agent", "domain": "b.example", **OWN}, CERTIFICATE_INVALID, "cover b.example"),
        ("tls", {"terminate_at": "agent", **OWN}, OPTION_INVALID, "no domain"),
        ("tls", {"terminate_at": "upstream", **OWN}, OPTION_INVALID, "mean nothing"),
        ("tls", {"mutual_tls_cas": AUTHORITY.pem}, OPTION_INVALID, "TLS is not terminated"),
        ("tls", {"terminate_at": "edge", "mutual_tls_cas": PAIR.certificate}, CERTIFICATE_INVALID, "is not a CA"),
        ("tls", {"crt": PAIR.certificate, "key": OTHER.issue().key}, CERTIFICATE_INVALID, "does not match"),
        ("http", {"url": "http://a.example", "mutual_tls_cas": AUTHORITY.pem}, OPTION_INVALID, "do not have"),
    ],
)
def test_row_2_12_tls_options_that_cannot_be(proto: str, options: dict[str, Any], code: object, words: str) -> None:
    with pytest.raises(PorticoError, match=words) as caught:
        bind(proto, **options)
    assert caught.value.code is code


def test_a_name_that_the_certificate_does_not_cover_can_be_wanted() -> None:
    wanted = {"terminate_at": "agent", "url": "b.example", "crt_any_domain": True, **OWN}
    assert terminated(check_options(wanted, "tls"), "tls", "")[0] is not None


def test_an_encrypted_key_needs_its_passphrase() -> None:
    plain = serialization.load_pem_private_key(PAIR.key.encode(), None)
    assert isinstance(plain, ec.EllipticCurvePrivateKey)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"open sesame"),
    ).decode()
    assert bind("tls", crt=PAIR.certificate, key=locked, key_passphrase="open sesame").key_pair == PAIR
    with pytest.raises(PorticoError, match="no passphrase was given"):
        bind("tls", crt=PAIR.certificate, key=locked)
    with pytest.raises(PorticoError, match="the passphrase does not open"):
        bind("tls", crt=PAIR.certificate, key=locked, key_passphrase="wrong")


@pytest.mark.parametrize(
    ("proto", "options", "name"),
    [
        ("tls", {"crt": "CERT"}, "key"),
        ("tls", {"key": "KEY"}, "crt"),
        ("tls", {"crt": b"\xff", "key": "KEY"}, "crt"),
        ("http", {"domain": "a", "hostname": "b"}, "hostname"),
        ("http", {"domain": "a", "subdomain": "b"}, "subdomain"),
        ("http", {"schemes": "ftp"}, "schemes"),
        ("http", {"basic_auth": "nocolon"}, "basic_auth"),
        ("http", {"request_header_add": ":x"}, "request_header_add"),
        ("http", {"circuit_breaker": 1.5}, "circuit_breaker"),
        ("http", {"verify_webhook_provider": "github"}, "verify_webhook_secret"),
        ("http", {"oauth_scopes": "x"}, "oauth_provider"),
        ("http", {"oidc_issuer_url": "https://id"}, "oidc_client_id"),
        ("http", {"policy": "{}", "traffic_policy": "{}"}, "policy"),
        ("labeled", {"labels": "nocolon"}, "labels"),
    ],
)
def test_combinations_that_make_no_sense(proto: str, options: dict[str, Any], name: str) -> None:
    with pytest.raises(PorticoError, match=f"option {name}") as caught:
        bind(proto, **options)
    assert caught.value.code is OPTION_INVALID


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(PorticoError) as caught:
        bind(basic_auth="hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_wire() -> None:
    message = bind(
        domain="a.example",
        basic_auth=["user:pass:word"],
        request_header_add="X-Req: yup",
        oauth_provider="google",
        oauth_allow_emails="a@example.com",
        traffic_policy={"on_http_request": []},
        pooling_enabled=True,
        binding="public",
        proxy_proto="2",
        mutual_tls_cas=AUTHORITY.pem,
        app_protocol="http2",
        metadata="m",
    ).wire()
    opts = message["Opts"]
    assert (message["Proto"], message["ForwardsTo"], message["ForwardsProto"]) == (
        "https", "http://localhost:80", "http2",
    )  # fmt: skip
    assert opts["BasicAuth"]["credentials"] == [{"username": "user", "cleartext_password": "pass:word"}]
    assert opts["RequestHeaders"] == {"add": ["x-req: yup"]}
    assert opts["OAuth"] == {"provider": "google", "allow_emails": ["a@example.com"]}
    assert json.loads(opts["TrafficPolicy"]) == {"on_http_request": []}
    assert opts["ProxyProto"] == 2
    assert opts["MutualTLSCA"] == {"mutual_tls_ca": base64.b64encode(AUTHORITY.pem.encode()).decode()}
    assert message["Extra"]["Bindings"] == ["public"]
    assert message["Extra"]["PoolingEnabled"] is True


def test_labels() -> None:
    assert bind("labeled", labels=["edge:e1", "a:b:c"]).labels == {"edge": "e1", "a": "b:c"}
    assert bind("labeled", labels={"edge": "e1"}).labels == {"edge": "e1"}


def test_upstream_certificates_are_checked_unless_told_otherwise() -> None:
    assert upstream_tls({}).verify
    assert not upstream_tls({"verify_upstream_tls": False}).verify


def test_row_0_8_upstream_tls() -> None:
    options = {
        "verify_upstream_tls": True,
        "upstream_tls_verify_cas": AUTHORITY.pem,
        "upstream_tls_server_name": "inner.example",
        "upstream_tls_min_version": "1.3",
        "upstream_client_crt": PAIR.certificate,
        "upstream_client_key": PAIR.key.encode(),
    }
    wanted = UpstreamTls(True, AUTHORITY.pem, "inner.example", TlsVersion.TLS_1_3, PAIR)
    assert upstream_tls(check_options(options, "http")) == wanted
    with pytest.raises(PorticoError, match="upstream_client_key"):
        upstream_tls({"upstream_client_crt": PAIR.certificate})
    with pytest.raises(PorticoError, match="does not match"):
        upstream_tls({**options, "upstream_client_key": OTHER.issue().key})
    with pytest.raises(PorticoError, match="upstream_tls_min_version"):
        check_options({"upstream_tls_min_version": "1.1"}, "http")


def test_the_weight_in_a_pool() -> None:
    assert terminated({"pool_weight": 1_000}, "http", "")[1].pool_weight == 1_000
    for wrong in (0, 1_001):
        with pytest.raises(PorticoError, match="pool_weight: 1 to 1000"):
            terminated({"pool_weight": wrong}, "http", "")
