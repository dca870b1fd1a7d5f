"""Files and flags become the agent's values."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.client_certificates import HOUR, SERVER, VisitorAuthority, written
from portico.agent.bind import BindKind, SignIn
from portico.agent.upstream import UpstreamScheme
from portico.agent.upstream_tls import UpstreamTls
from portico.cli.config.endpoints import Forwarding, entry_forwardings, forwardings
from portico.cli.config.models import EndpointKeys, Tunnel
from portico.cli.config.section import SectionError
from portico.model.endpoint import TlsVersion
from portico.model.errors import CERTIFICATE_INVALID, OPTION_INVALID, UPSTREAM_INVALID, URL_INVALID, PorticoError


def one(**keys: Any) -> Forwarding:
    [only] = forwardings("name", Tunnel.read({"addr": "80", "proto": "http", **keys}))
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
    entry = EndpointKeys.read(
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


AUTHORITY = VisitorAuthority()
OTHER = VisitorAuthority("other")
PAIR = AUTHORITY.issue(dns=["a.example", "*.b.example"], usage=SERVER)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    certificate, key = written(PAIR, tmp_path, "a")
    (tmp_path / "cas.pem").write_text(AUTHORITY.pem + OTHER.pem)
    return {"crt": str(certificate), "key": str(key)}


def test_where_tls_ends(files: dict[str, str], tmp_path: Path) -> None:
    cas = str(tmp_path / "cas.pem")
    through = one(proto="tls")
    assert (through.bind.edge_tls, through.agent_tls) == (False, None)
    at_edge = one(proto="tls", **files)
    assert at_edge.bind.edge_tls
    assert at_edge.bind.key_pair == PAIR
    automatic = one(proto="tls", terminate_at="edge")
    assert (automatic.bind.edge_tls, automatic.bind.key_pair) == (True, None)
    asked = one(proto="tls", terminate_at="edge", mutual_tls_cas=(cas,))
    assert (asked.bind.edge_tls, asked.bind.visitor_authorities.count("BEGIN CERTIFICATE")) == (True, 2)
    at_agent = one(proto="tls", url="a.example", terminate_at="agent", mutual_tls_cas=(cas,), **files)
    assert at_agent.agent_tls is not None
    assert (at_agent.bind.edge_tls, at_agent.bind.key_pair, at_agent.bind.visitor_authorities) == (False, None, "")
    assert (at_agent.agent_tls.client_authorities or "").count("BEGIN CERTIFICATE") == 2
    https = one(mutual_tls_cas=(cas,))
    assert https.bind.visitor_authorities.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"proto": "tls", "terminate_at": "upstream", "mutual_tls_cas": ("cas.pem",)}, "TLS is not terminated"),
        ({"proto": "tls", "mutual_tls_cas": ("cas.pem",)}, "TLS is not terminated"),
        ({"proto": "tcp", "url": "tcp://", "mutual_tls_cas": ("cas.pem",)}, "tcp endpoints do not have"),
        ({"url": "http://", "mutual_tls_cas": ("cas.pem",)}, "http endpoints do not have"),
        ({"schemes": ("http", "https"), "mutual_tls_cas": ("cas.pem",)}, "http endpoints do not have"),
        ({"proto": None, "labels": ("a=b",), "mutual_tls_cas": ("cas.pem",)}, "labeled endpoints do not have"),
        ({"proto": "tls", "terminate_at": "upstream", "crt": "a.pem", "key": "a.key"}, "mean nothing"),
        ({"proto": "tls", "terminate_at": "agent"}, "needs crt and key"),
        ({"proto": "tls", "terminate_at": "edge", "crt_any_domain": True}, "crt_any_domain means nothing"),
        ({"crt_any_domain": True}, "crt_any_domain means nothing"),
        ({"crt": "a.pem", "key": "a.key"}, "belong to tls"),
    ],
)
def test_row_2_12_combinations_that_make_no_sense(
    files: dict[str, str], keys: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PorticoError, match=words) as caught:
        one(**keys)
    assert caught.value.code is OPTION_INVALID


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "c.example"}, "does not cover c.example; it is for a.example, \\*.b.example"),
        ({"url": "x.y.b.example"}, "does not cover"),
        ({}, "no domain was asked for"),
        ({"url": "tls://"}, "no domain was asked for"),
        ({"subdomain": "c"}, None),
        ({"url": "a.example"}, None),
        ({"url": "x.b.example"}, None),
        ({"url": "c.example", "crt_any_domain": True}, None),
        ({"crt_any_domain": True}, None),
    ],
)
def test_row_1_27_the_certificate_covers_the_domain(
    files: dict[str, str], keys: dict[str, Any], words: str | None
) -> None:
    keys = {"proto": "tls", "terminate_at": "agent", **files, **keys}
    if words is None:
        assert one(**keys).agent_tls is not None
    else:
        with pytest.raises(PorticoError, match=words):
            one(**keys)


def test_a_subdomain_that_no_name_of_the_certificate_begins_with(tmp_path: Path) -> None:
    certificate, key = written(AUTHORITY.issue(dns=["web.example"], usage=SERVER), tmp_path)
    keys = {"proto": "tls", "terminate_at": "agent", "crt": str(certificate), "key": str(key)}
    assert one(subdomain="web", **keys).agent_tls is not None
    with pytest.raises(PorticoError, match="does not cover app"):
        one(subdomain="app", **keys)


def test_pem_itself_instead_of_a_file() -> None:
    keys = {
        "server_certificate": PAIR.certificate,
        "server_private_key": PAIR.key,
        "mutual_tls_certificate_authorities": [OTHER.pem],
    }
    entry = {"name": "a", "url": "tls://a.example", "upstream": {"url": "80"}, "agent_tls_termination": keys}
    [made] = entry_forwardings("a", EndpointKeys.read(entry))
    assert made.agent_tls is not None
    assert made.agent_tls.key_pair.key == PAIR.key
    with pytest.raises(PorticoError, match="a: crt, key and terminate_at belong to tls"):
        entry_forwardings("a", EndpointKeys.read({**entry, "url": "https://a.example"}))


@pytest.mark.parametrize(
    ("crt", "key", "words"),
    [
        ("a.pem", "b.key", "does not match the certificate of 'visitor'"),
        ("a.pem", "a.pem", "no private key in a.pem"),
        ("a.key", "a.key", "no certificate in a.key"),
        ("a.pem", None, "private key .* is missing"),
        (None, "a.key", "certificate .* is missing"),
        ("old.pem", "old.key", "expired on"),
        ("new.pem", "new.key", "is not valid before"),
        ("a.pem", "locked.key", "locked.key: the private key is encrypted"),
    ],
)
def test_row_1_27_keys_that_do_not_fit(
    files: dict[str, str], crt: str | None, key: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(AUTHORITY.issue(usage=SERVER), tmp_path, "b")
    written(AUTHORITY.issue(starts=-2 * HOUR, lasts=HOUR), tmp_path, "old")
    written(AUTHORITY.issue(starts=HOUR), tmp_path, "new")
    (tmp_path / "locked.key").write_text(locked(PAIR.key))
    with pytest.raises(PorticoError, match=words) as caught:
        one(proto="tls", crt=crt, key=key)
    assert caught.value.code is CERTIFICATE_INVALID
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("pem", "words"),
    [
        (VisitorAuthority("flat", is_ca=False).pem, "CA 1 .'flat'. is not a CA: its basicConstraints say cA false"),
        (AUTHORITY.pem + PAIR.certificate, "CA 2 .'visitor'. is not a CA"),
        (VisitorAuthority("old", starts=-2 * HOUR, lasts=HOUR).pem, "CA 1 .'old'. expired on"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
        ("notes", "no certificate in cas.pem"),
    ],
)
@pytest.mark.parametrize("keys", [{}, {"proto": "tls", "terminate_at": "edge"}])
def test_row_2_10_unfit_authorities(
    keys: dict[str, Any], pem: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cas.pem").write_text(pem)
    with pytest.raises(PorticoError, match=words) as caught:
        one(mutual_tls_cas=("cas.pem",), **keys)
    assert caught.value.code is CERTIFICATE_INVALID
    with pytest.raises(PorticoError, match=words.removeprefix("CA 1 ")):
        one(addr="https://localhost", upstream_tls_verify_cas="cas.pem")


def locked(key: str, passphrase: str = "open sesame") -> str:
    plain = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(plain, ec.EllipticCurvePrivateKey)
    encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return plain.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def test_row_1_27_a_passphrase_from_a_file_the_environment_or_a_person(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked.key").write_text(locked(PAIR.key))
    (tmp_path / "secret").write_text("open sesame\n")
    keys = {"addr": "80", "proto": "tls", "crt": files["crt"], "key": str(tmp_path / "locked.key")}
    tunnel = Tunnel.read(keys)
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "open sesame"

    def same(made: tuple[Forwarding, ...]) -> bool:
        pair = made[0].bind.key_pair
        return pair is not None and pair.key == PAIR.key

    assert same(forwardings("a", tunnel, ask))
    assert asked == [str(tmp_path / "locked.key")]
    assert same(forwardings("a", tunnel.replaced(key_passphrase_file=str(tmp_path / "secret"))))
    monkeypatch.setenv("PORTICO_KEY_PASSPHRASE", "open sesame")
    assert same(forwardings("a", tunnel))
    monkeypatch.setenv("PORTICO_KEY_PASSPHRASE", "wrong words")
    with pytest.raises(PorticoError, match="the passphrase does not open") as caught:
        forwardings("a", tunnel)
    assert "wrong words" not in str(caught.value)


UPSTREAM_V2: dict[str, Any] = {
    "upstream_tls_verify": True,
    "upstream_tls_verify_cas": AUTHORITY.pem,
    "upstream_tls_server_name": "inner.example",
    "upstream_tls_min_version": "1.3",
    "upstream_client_crt": PAIR.certificate,
    "upstream_client_key": PAIR.key,
}
UPSTREAM_V3: dict[str, Any] = {
    "tls_verify": True,
    "tls_verify_cas": AUTHORITY.pem,
    "tls_server_name": "inner.example",
    "tls_min_version": "1.3",
    "client_certificate": PAIR.certificate,
    "client_private_key": PAIR.key,
}


def test_row_0_8_upstream_tls_in_both_versions() -> None:
    wanted = UpstreamTls(True, AUTHORITY.pem, "inner.example", TlsVersion.TLS_1_3, PAIR)
    assert one(addr="https://localhost:8443", **UPSTREAM_V2).upstream_tls == wanted
    entry = {"name": "a", "upstream": {"url": "https://localhost:8443", **UPSTREAM_V3}}
    [made] = entry_forwardings("a", EndpointKeys.read(entry))
    assert made.upstream_tls == wanted
    assert one(addr="https://localhost:8443").upstream_tls == UpstreamTls()


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ({"upstream_client_crt": PAIR.certificate}, CERTIFICATE_INVALID, "upstream_client_key is missing"),
        ({"upstream_client_key": PAIR.key}, CERTIFICATE_INVALID, "upstream_client_crt is missing"),
        (
            {"upstream_client_crt": PAIR.certificate, "upstream_client_key": OTHER.issue().key},
            CERTIFICATE_INVALID,
            "does not match",
        ),
        ({"upstream_client_key_passphrase_file": "x"}, CERTIFICATE_INVALID, "no private key for it"),
        ({"addr": "80", "upstream_tls_server_name": "a"}, OPTION_INVALID, "server name means nothing to http"),
        ({"addr": "80", "upstream_tls_min_version": "1.3"}, OPTION_INVALID, "minimum version of TLS means nothing"),
        ({"addr": "80", "upstream_tls_verify_cas": AUTHORITY.pem}, OPTION_INVALID, "CAs to verify"),
        (
            {"addr": "80", "upstream_client_crt": PAIR.certificate, "upstream_client_key": PAIR.key},
            OPTION_INVALID,
            "a client certificate means nothing",
        ),
    ],
)
def test_row_0_8_upstream_tls_that_cannot_be(keys: dict[str, Any], code: object, words: str) -> None:
    with pytest.raises(PorticoError, match=words) as caught:
        one(**{"addr": "https://localhost", **keys})
    assert caught.value.code is code


def test_an_unknown_version_of_tls_is_no_key() -> None:
    for version in ("1.1", "1.4", "ssl3"):
        with pytest.raises(SectionError):
            Tunnel.read({"upstream_tls_min_version": version})
    assert Tunnel.read({"upstream_tls_min_version": 1.3}).upstream_tls_min_version == "1.3"
