import base64
import json
from typing import Any

import pytest

from portico.agent.bind import BindKind, BindRequest
from portico.agent.edge_address import EdgeAddress
from portico.model.endpoint import KeyPair
from portico.model.errors import AUTHTOKEN_MISSING, OPTION_INVALID, PorticoError
from portico.sdk.options import check_options
from portico.sdk.requests import agent_tls, bind_request, session_settings, upstream_tls

EDGE = {"connect_url": "edge.example.com", "authtoken": "tok"}


def bind(proto: str = "http", **options: Any) -> BindRequest:
    return bind_request(check_options(options, proto), proto, "http://localhost:80")


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


def test_where_tls_ends() -> None:
    assert not bind("tls").edge_tls
    assert bind("tls", crt=bytearray(), key=bytearray()).edge_tls
    own = bind("tls", crt="CERT", key=b"KEY", mutual_tls_cas=[bytearray(b"A"), "B"])
    assert own.edge_tls
    assert own.key_pair == KeyPair("CERT", "KEY")
    assert own.visitor_authorities == "A\nB"
    at_agent = {"terminate_at": "agent", "crt": "CERT", "key": "KEY", "mutual_tls_cas": "A"}
    here = agent_tls(at_agent)
    assert here is not None
    assert (here.key_pair, here.client_authorities) == (KeyPair("CERT", "KEY"), "A")
    there = bind("tls", **at_agent)
    assert (there.edge_tls, there.key_pair, there.visitor_authorities) == (False, None, "")


@pytest.mark.parametrize(
    ("proto", "options", "name"),
    [
        ("tls", {"crt": "CERT"}, "key"),
        ("tls", {"key": "KEY"}, "crt"),
        ("tls", {"crt": b"\xff", "key": "KEY"}, "crt"),
        ("tls", {"terminate_at": "upstream", "crt": "C", "key": "K"}, "terminate_at"),
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


def test_tls_here_needs_a_pair() -> None:
    with pytest.raises(PorticoError, match="needs crt and key"):
        agent_tls({"terminate_at": "agent"})


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
        mutual_tls_cas="PEM",
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
    assert opts["MutualTLSCA"] == {"mutual_tls_ca": base64.b64encode(b"PEM").decode()}
    assert message["Extra"]["Bindings"] == ["public"]
    assert message["Extra"]["PoolingEnabled"] is True


def test_labels() -> None:
    assert bind("labeled", labels=["edge:e1", "a:b:c"]).labels == {"edge": "e1", "a": "b:c"}
    assert bind("labeled", labels={"edge": "e1"}).labels == {"edge": "e1"}


def test_upstream_certificates_are_checked_unless_told_otherwise() -> None:
    assert upstream_tls({}).verify
    assert not upstream_tls({"verify_upstream_tls": False}).verify
